//! The download of a table.

use bytes::Bytes;
use windvane_protocols::limits::MAX_SEGMENTS;
use windvane_protocols::lookup::DataSet;
use windvane_protocols::score::table::SEGMENT_BYTES;
use windvane_protocols::score::table::manifest::TableManifest;
use windvane_protocols::transcript::{Hash, Signed};

use crate::convert::{WireError, array, signed};
use crate::score::v1 as wire;

/// Which table a peer wants the manifest of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableManifestWanted {
    /// The scoring group.
    pub group: DataSet,
    /// The epoch.
    pub epoch: u64,
}

/// Which segments a peer wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableWanted {
    /// The scoring group.
    pub group: DataSet,
    /// The epoch.
    pub epoch: u64,
    /// The context that the table was made under.
    pub context: Hash,
    /// From which segment on; as many as there are give none.
    pub from: u64,
}

/// The rows of one segment: 10,000 of 32 bytes. Whether they are elements is found when they are added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentRows(Bytes);

impl SegmentRows {
    /// The rows.
    pub fn as_array(&self) -> &[u8; SEGMENT_BYTES] {
        self.0[..].try_into().expect("the length was checked when it was made")
    }
}

impl TryFrom<&wire::FetchTableManifestRequest> for TableManifestWanted {
    type Error = WireError;

    fn try_from(message: &wire::FetchTableManifestRequest) -> Result<Self, WireError> {
        Ok(Self { group: group(&message.group)?, epoch: message.epoch })
    }
}

impl From<&TableManifestWanted> for wire::FetchTableManifestRequest {
    fn from(wanted: &TableManifestWanted) -> Self {
        Self { group: wanted.group.to_string(), epoch: wanted.epoch }
    }
}

impl TryFrom<&wire::FetchTableRequest> for TableWanted {
    type Error = WireError;

    fn try_from(message: &wire::FetchTableRequest) -> Result<Self, WireError> {
        if message.from > MAX_SEGMENTS as u64 {
            return Err(WireError::Form { field: "from", expected: "the number of a segment" });
        }
        Ok(Self {
            group: group(&message.group)?,
            epoch: message.epoch,
            context: array("context", &message.context)?,
            from: message.from,
        })
    }
}

impl From<&TableWanted> for wire::FetchTableRequest {
    fn from(wanted: &TableWanted) -> Self {
        Self {
            group: wanted.group.to_string(),
            epoch: wanted.epoch,
            context: wanted.context.to_vec().into(),
            from: wanted.from,
        }
    }
}

impl TryFrom<wire::FetchTableManifestResponse> for Signed<TableManifest> {
    type Error = WireError;

    fn try_from(message: wire::FetchTableManifestResponse) -> Result<Self, WireError> {
        signed("manifest", &message.manifest)
    }
}

impl From<&Signed<TableManifest>> for wire::FetchTableManifestResponse {
    fn from(manifest: &Signed<TableManifest>) -> Self {
        Self { manifest: manifest.as_bytes().to_vec().into() }
    }
}

impl TryFrom<wire::FetchTableResponse> for SegmentRows {
    type Error = WireError;

    fn try_from(message: wire::FetchTableResponse) -> Result<Self, WireError> {
        if message.rows.len() == SEGMENT_BYTES {
            Ok(Self(message.rows))
        } else {
            Err(WireError::Form { field: "rows", expected: "a segment of 10,000 rows of 32 bytes" })
        }
    }
}

fn group(text: &str) -> Result<DataSet, WireError> {
    text.parse().map_err(|_| WireError::Form { field: "group", expected: "a scoring group's name" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field<T: std::fmt::Debug>(read: Result<T, WireError>) -> &'static str {
        match read {
            Err(WireError::Size { field, .. } | WireError::Form { field, .. }) => field,
            Ok(read) => panic!("{read:?}"),
        }
    }

    #[test]
    fn wanted_segments_survive_the_wire_and_malformed_wishes_do_not() {
        let table = TableManifestWanted { group: "fraud".parse().unwrap(), epoch: 3 };
        let (group, epoch) = (table.group.clone(), table.epoch);
        let wanted = TableWanted { group, epoch, context: [7; 64], from: MAX_SEGMENTS as u64 };
        assert_eq!(TableWanted::try_from(&wire::FetchTableRequest::from(&wanted)), Ok(wanted.clone()));
        let message = wire::FetchTableManifestRequest::from(&table);
        assert_eq!(TableManifestWanted::try_from(&message), Ok(table));
        let message = wire::FetchTableManifestRequest { group: "a/b".into(), ..message };
        assert_eq!(field(TableManifestWanted::try_from(&message)), "group");
        let good = wire::FetchTableRequest::from(&wanted);
        let far = wire::FetchTableRequest { from: MAX_SEGMENTS as u64 + 1, ..good.clone() };
        assert_eq!(field(TableWanted::try_from(&far)), "from");
        let short = wire::FetchTableRequest { context: vec![7; 63].into(), ..good.clone() };
        assert_eq!(field(TableWanted::try_from(&short)), "context");
        let nameless = wire::FetchTableRequest { group: String::new(), ..good };
        assert_eq!(field(TableWanted::try_from(&nameless)), "group");
    }

    #[test]
    fn a_segment_has_exactly_its_rows_and_a_manifest_its_form() {
        let rows = |count: usize| wire::FetchTableResponse { rows: vec![9; count].into() };
        assert_eq!(SegmentRows::try_from(rows(SEGMENT_BYTES)).unwrap().as_array(), &[9; SEGMENT_BYTES]);
        for count in [0, SEGMENT_BYTES - 32, SEGMENT_BYTES + 1] {
            assert_eq!(field(SegmentRows::try_from(rows(count))), "rows");
        }
        let message = wire::FetchTableManifestResponse { manifest: vec![1; 40 << 10].into() };
        assert_eq!(field(Signed::<TableManifest>::try_from(message)), "manifest");
    }
}
