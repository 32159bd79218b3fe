//! Who stands on which list, and how a day's changes alter that.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::ScreenError;

/// The words in providers' lists and the codes that rules use for them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagWords(BTreeMap<String, String>);

impl TagWords {
    /// Words to codes. A code also stands for itself.
    pub fn new(words: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut map: BTreeMap<String, String> = words.into_iter().collect();
        let codes: Vec<_> = map.values().cloned().collect();
        map.extend(codes.into_iter().map(|code| (code.clone(), code)));
        Self(map)
    }

    /// The codes of tags as a list has them, joined by `|`; an empty text has none.
    ///
    /// # Errors
    /// [`ScreenError::TagUnknown`].
    pub fn codes(&self, provider: &str, text: &str) -> Result<BTreeSet<String>, ScreenError> {
        let unknown = || ScreenError::TagUnknown { provider: provider.to_owned() };
        let words = text.split('|').map(str::trim).filter(|word| !word.is_empty());
        words.map(|word| self.0.get(word).cloned().ok_or_else(unknown)).collect()
    }
}

impl Default for TagWords {
    /// The words of the carrier schema's sample.
    fn default() -> Self {
        let words = [
            ("涉诈确认", "fraud_confirmed"),
            ("跑分", "money_mule"),
            ("疑似涉诈", "fraud_suspected"),
            ("高频呼叫", "bulk_calling"),
            ("群发短信", "bulk_sms"),
            ("一机多卡", "shared_device"),
        ];
        Self::new(words.map(|(word, code)| (word.to_owned(), code.to_owned())))
    }
}

/// One customer on one provider's list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hit {
    /// The bank's own customer number.
    pub customer: String,
    /// The outlet that keeps the account.
    pub outlet: String,
    /// The provider's party id.
    pub provider: String,
    /// The tags' codes; none means that the number left the list.
    pub tags: BTreeSet<String>,
}

/// All hits, by customer and provider.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hits(pub(super) BTreeMap<String, CustomerHits>);

/// A customer's outlet, and the tags by provider.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct CustomerHits {
    pub(super) outlet: String,
    pub(super) tags: BTreeMap<String, BTreeSet<String>>,
}

/// Codes that are joined by `|`.
pub(super) fn split(codes: &str) -> BTreeSet<String> {
    codes.split('|').filter(|code| !code.is_empty()).map(str::to_owned).collect()
}

const HEADER: [&str; 4] = ["客户号", "网点", "来源", "标签"];

impl Hits {
    /// Puts a customer on a provider's list, changes the tags, or, where there are none, takes it off.
    pub fn apply(&mut self, hit: Hit) {
        if hit.tags.is_empty() {
            return self.remove(&hit.customer, &hit.provider);
        }
        let customer = self.0.entry(hit.customer).or_default();
        customer.outlet = hit.outlet;
        customer.tags.insert(hit.provider, hit.tags);
    }

    /// Forgets everything of a customer, who is to be looked at anew.
    pub fn forget(&mut self, customer: &str) {
        self.0.remove(customer);
    }

    fn remove(&mut self, customer: &str, provider: &str) {
        if let Some(hits) = self.0.get_mut(customer) {
            hits.tags.remove(provider);
            if hits.tags.is_empty() {
                self.0.remove(customer);
            }
        }
    }

    /// Customers on at least one list.
    pub fn customers(&self) -> usize {
        self.0.len()
    }

    /// Reads the `hits.csv` that [`super::write_lists`] wrote.
    ///
    /// # Errors
    /// [`ScreenError::Io`]; [`ScreenError::Row`].
    pub fn read(path: &Path) -> Result<Self, ScreenError> {
        let mut reader = csv::Reader::from_path(path).map_err(|e| ScreenError::io(path)(e.into()))?;
        let mut hits = Self::default();
        for (row, record) in (1..).zip(reader.records()) {
            let bad = |rule| ScreenError::Row { path: path.to_owned(), row, rule };
            let record = record.map_err(|_| bad("expected four cells of UTF-8"))?;
            let [customer, outlet, provider, tags] =
                std::array::from_fn(|i| record.get(i).unwrap_or_default().to_owned());
            let tags = split(&tags);
            if customer.is_empty() || provider.is_empty() || tags.is_empty() {
                return Err(bad("customer, provider and tags must not be empty"));
            }
            hits.apply(Hit { customer, outlet, provider, tags });
        }
        Ok(hits)
    }

    /// Writes one row a customer and provider, in order.
    pub(super) fn write<W: std::io::Write>(&self, writer: &mut csv::Writer<W>) -> csv::Result<()> {
        writer.write_record(HEADER)?;
        for (customer, hits) in &self.0 {
            for (provider, tags) in &hits.tags {
                let tags: Vec<_> = tags.iter().map(String::as_str).collect();
                writer.write_record([customer, &hits.outlet, provider, &tags.join("|")])?;
            }
        }
        Ok(())
    }
}
