//! The carrier's rule of the parent module's documentation, as code. It knows no label.

use std::collections::BTreeSet;

/// What the rule reads of a subscriber. `None` is an empty cell.
#[derive(Debug, Clone, Default)]
pub(super) struct Features {
    /// People spoken with in the month (`opposite_unique`).
    pub people: Option<f64>,
    /// Calls with each of them on average (`phone2opposite_mean`).
    pub calls_a_person: Option<f64>,
    /// Share of calls that are outgoing (`voc_calltype1`).
    pub outgoing: Option<f64>,
    /// Devices in the month (`imeis`).
    pub devices: Option<f64>,
    /// Texts sent or received (`sms_count`).
    pub texts: Option<f64>,
    /// Texts received (`calltype_2`).
    pub texts_received: Option<f64>,
    /// Days of the month with texts (`day_nunique`).
    pub text_days: Option<f64>,
    /// Data used (`flow_sum`).
    pub data: Option<f64>,
    /// Months with data use (`month_ids`).
    pub data_months: Option<f64>,
    /// Mean of the monthly bills in yuan (`arpu_mean`).
    pub bill_mean: Option<f64>,
    /// Sum of the monthly bills in yuan (`arpu_sum`).
    pub bill_sum: Option<f64>,
    /// Standard error of the bills' mean in yuan (`arpu_sem`).
    pub bill_error: Option<f64>,
}

/// A risk tag of a carrier's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Tag {
    Confirmed,
    Suspected,
    BulkCalling,
    BulkSms,
    SharedDevice,
}

impl Tag {
    /// The word in the carrier's file.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Confirmed => "涉诈确认",
            Self::Suspected => "疑似涉诈",
            Self::BulkCalling => "高频呼叫",
            Self::BulkSms => "群发短信",
            Self::SharedDevice => "一机多卡",
        }
    }

    /// The code in the bank's report.
    pub(super) fn code(self) -> &'static str {
        match self {
            Self::Confirmed => "fraud_confirmed",
            Self::Suspected => "fraud_suspected",
            Self::BulkCalling => "bulk_calling",
            Self::BulkSms => "bulk_sms",
            Self::SharedDevice => "shared_device",
        }
    }
}

/// What the carrier writes of a subscriber.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Findings {
    pub tags: BTreeSet<Tag>,
    pub suspended: bool,
    /// Whole days since activation, at least.
    pub tenure_days: i64,
}

impl Findings {
    pub(super) fn of(features: &Features) -> Self {
        Self { tags: features.tags(), suspended: features.is_silent(), tenure_days: features.tenure_days() }
    }
}

impl Features {
    fn tags(&self) -> BTreeSet<Tag> {
        let bulk = self.calls_in_bulk() || self.texts_in_bulk();
        let suspected = self.signs() >= 3;
        let tags = [
            (Tag::Confirmed, suspected && bulk),
            (Tag::Suspected, suspected),
            (Tag::BulkCalling, self.calls_in_bulk()),
            (Tag::BulkSms, self.texts_in_bulk()),
            (Tag::SharedDevice, least(self.devices, 8.0)),
        ];
        tags.into_iter().filter(|(_, holds)| *holds).map(|(tag, _)| tag).collect()
    }

    fn calls_in_bulk(&self) -> bool {
        least(self.people, 20.0) && most(self.calls_a_person, 1.8) && least(self.outgoing, 0.7)
    }

    fn texts_in_bulk(&self) -> bool {
        let sent = self.texts.zip(self.texts_received).map(|(texts, received)| texts - received);
        least(sent, 100.0) && most(self.received_share(), 0.5)
    }

    fn received_share(&self) -> Option<f64> {
        let texts = self.texts.filter(|texts| *texts > 0.0);
        texts.zip(self.texts_received).map(|(texts, received)| received / texts)
    }

    /// How many of the seven signs hold.
    fn signs(&self) -> usize {
        let signs = [
            most(self.text_days, 20.0),
            most(self.calls_a_person, 3.0),
            most(self.received_share(), 0.95),
            least(self.devices, 3.0),
            self.months() <= 6,
            most(self.data_months, 1.0),
            least(self.bill_error, 10.0),
        ];
        signs.into_iter().filter(|sign| *sign).count()
    }

    /// Months of history; none where the carrier has neither a bill nor data use.
    fn months(&self) -> i64 {
        let bills = self.bill_sum.zip(self.bill_mean.filter(|mean| *mean != 0.0));
        let billed = bills.map_or(0.0, |(sum, mean)| (sum / mean).round());
        billed.max(self.data_months.unwrap_or(0.0)) as i64
    }

    fn tenure_days(&self) -> i64 {
        30 * self.months().max(1) - 15
    }

    fn is_silent(&self) -> bool {
        self.people.is_none() && self.data.is_none_or(|data| data <= 0.0)
    }
}

fn least(value: Option<f64>, limit: f64) -> bool {
    value.is_some_and(|value| value >= limit)
}

fn most(value: Option<f64>, limit: f64) -> bool {
    value.is_some_and(|value| value <= limit)
}

#[test]
fn a_caller_of_many_strangers_is_a_bulk_caller_and_suspected_only_with_other_signs() {
    let caller = Features {
        people: Some(20.0),
        calls_a_person: Some(1.8),
        outgoing: Some(0.7),
        data_months: Some(8.0),
        ..Features::default()
    };
    let tags = |features: &Features| Findings::of(features).tags.into_iter().collect::<Vec<_>>();
    assert_eq!(tags(&caller), [Tag::BulkCalling]);
    assert_eq!(tags(&Features { people: Some(19.0), ..caller.clone() }), []);
    assert_eq!(tags(&Features { outgoing: None, ..caller.clone() }), []);
    let many_devices = Features { devices: Some(3.0), text_days: Some(20.0), ..caller };
    assert_eq!(tags(&many_devices), [Tag::Confirmed, Tag::Suspected, Tag::BulkCalling]);
}

#[test]
fn a_subscriber_of_whom_nothing_is_known_is_new_and_silent_but_has_no_tag() {
    let findings = Findings::of(&Features::default());
    assert_eq!(findings, Findings { tags: BTreeSet::new(), suspended: true, tenure_days: 15 });
}

#[test]
fn months_of_history_are_those_of_bills_or_of_data_use() {
    let billed = Features { bill_mean: Some(45.13), bill_sum: Some(361.04), ..Features::default() };
    assert_eq!(Findings::of(&billed).tenure_days, 225);
    let online = Features { data_months: Some(3.0), ..Features::default() };
    assert_eq!(Findings::of(&online).tenure_days, 75);
}
