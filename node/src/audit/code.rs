//! Stable codes of findings about what entries say, and of differences between logs. Those of the log's files
//! are in [`crate::evidence::verify::code`].

/// Entry 0 does not open the log, or cannot be read.
pub const OPENING_MISSING: &str = "OPENING_MISSING";
/// A later entry opens the log once more.
pub const OPENED_AGAIN: &str = "OPENED_AGAIN";
/// The log's name is not that of the party that it says it belongs to.
pub const ORIGIN_DIFFERS: &str = "ORIGIN_DIFFERS";
/// The log names another checkpoint key than the one that signs its checkpoint.
pub const LOG_KEY_DIFFERS: &str = "LOG_KEY_DIFFERS";
/// An entry is not in its encoding.
pub const ENTRY_MALFORMED: &str = "ENTRY_MALFORMED";
/// An entry's time lies before an earlier entry's.
pub const TIME_BACKWARDS: &str = "TIME_BACKWARDS";
/// A record that the node itself signed has another time than its entry, or a provider's acceptance or receipt names a time at
/// which the request in it was not made yet, a lookup's also one at which it was long over.
pub const TIME_DIFFERS: &str = "TIME_DIFFERS";
/// A public key in an entry is not a usable key.
pub const KEY_INVALID: &str = "KEY_INVALID";
/// An enrolment does not hold: its proofs, its certificate, or their validity at the time of the entry.
pub const ENROLMENT_INVALID: &str = "ENROLMENT_INVALID";
/// An entry names other keys than the enrolment in it.
pub const ENROLMENT_KEYS: &str = "ENROLMENT_KEYS";
/// No enrolment before this entry names a key of the signer.
pub const SIGNER_UNKNOWN: &str = "SIGNER_UNKNOWN";
/// A record is between other parties than the log's own.
pub const FOREIGN_RECORD: &str = "FOREIGN_RECORD";
/// A request is not signed by its requester.
pub const REQUEST_SIGNATURE: &str = "REQUEST_SIGNATURE";
/// A receipt is not signed by its provider.
pub const RECEIPT_SIGNATURE: &str = "RECEIPT_SIGNATURE";
/// A grant is not signed by its provider.
pub const GRANT_SIGNATURE: &str = "GRANT_SIGNATURE";
/// A manifest is not signed by its provider.
pub const MANIFEST_SIGNATURE: &str = "MANIFEST_SIGNATURE";
/// A provider published one epoch of a data set with two manifests.
pub const SECOND_MANIFEST: &str = "SECOND_MANIFEST";
/// A delta follows a publication that is not in the log before it. That an id is used twice has the code of
/// [`windvane_protocols::lookup::delta::DeltaError::IdReused`].
pub const DELTA_BASE: &str = "DELTA_BASE";
/// A countersignature is not by the requester.
pub const COUNTERSIGNATURE_INVALID: &str = "COUNTERSIGNATURE_INVALID";
/// A session was requested twice.
pub const SESSION_REPEATED: &str = "SESSION_REPEATED";
/// A session was answered twice.
pub const RECEIPT_REPEATED: &str = "RECEIPT_REPEATED";
/// The requester's log has a receipt but, before it, not the request. As a difference: the requester's log
/// lacks a request that the provider answered.
pub const REQUEST_MISSING: &str = "REQUEST_MISSING";
/// The request in a receipt is not the one that was logged before it was sent, byte for byte.
pub const REQUEST_DIFFERS: &str = "REQUEST_DIFFERS";
/// A receipt is of a protocol that this version does not know.
pub const PROTOCOL_UNKNOWN: &str = "PROTOCOL_UNKNOWN";
/// A receipt counts other elements than were requested, or a set intersection was accepted over other rows, or in another way,
/// than were.
pub const COUNTS_DIFFER: &str = "COUNTS_DIFFER";
/// A receipt, or the end of a grant, names a grant that is not in the log before it.
pub const GRANT_UNKNOWN: &str = "GRANT_UNKNOWN";
/// Two different grants have one name.
pub const GRANT_DIFFERS: &str = "GRANT_DIFFERS";
/// A use does not lie within its grant.
pub const OUTSIDE_GRANT: &str = "OUTSIDE_GRANT";
/// A use came after its grant was ended, and after the time in which a node takes that over.
pub const GRANT_ENDED: &str = "GRANT_ENDED";
/// More elements were answered than a grant permits in all.
pub const QUOTA_TOTAL: &str = "QUOTA_TOTAL";
/// More elements were answered than a grant permits in a day.
pub const QUOTA_DAY: &str = "QUOTA_DAY";
/// A countersignature covers a receipt that is not in the log before it.
pub const RECEIPT_UNKNOWN: &str = "RECEIPT_UNKNOWN";
/// A decision names a session that is not in the log before it.
pub const SESSION_UNKNOWN: &str = "SESSION_UNKNOWN";
/// A verification was decided twice, in different words.
pub const DECISION_REPEATED: &str = "DECISION_REPEATED";
/// Two decisions name one customer of a session, or one that the session does not have.
pub const CUSTOMER_REPEATED: &str = "CUSTOMER_REPEATED";
/// The commitments in the decisions do not give the root that the request was signed over.
pub const COMMITMENT_DIFFERS: &str = "COMMITMENT_DIFFERS";
/// A protocol of destruction is not signed by the log's party.
pub const DESTRUCTION_SIGNATURE: &str = "DESTRUCTION_SIGNATURE";
/// The node says that it went on from a backup that had more entries than the log has there.
pub const RESTORED_AHEAD: &str = "RESTORED_AHEAD";
/// A receipt of a set intersection says something else of its release than the release request in the log.
pub const RELEASE_DIFFERS: &str = "RELEASE_DIFFERS";
/// The same input came again under a grant that does not permit it.
pub const INPUT_REPEATED: &str = "INPUT_REPEATED";
/// A provider published two tables of a joint score under one context. As a difference: the two logs have different ones.
pub const SECOND_TABLE: &str = "SECOND_TABLE";
/// A release request is not signed by the requester.
pub const RELEASE_SIGNATURE: &str = "RELEASE_SIGNATURE";
/// A training was given up by its provider, and went on, was completed or was given up otherwise in the same log.
pub const SESSION_LAPSED: &str = "SESSION_LAPSED";
/// A session was answered, and nothing was decided about some of its customers; or a requester has the receipt of a set
/// intersection or training and, before it, no commitment to its result.
pub const DECISION_MISSING: &str = "DECISION_MISSING";

/// Difference: one party's log lacks a session that the other's has.
pub const SESSION_MISSING: &str = "SESSION_MISSING";
/// Difference: the provider answered, and the requester's log has neither the receipt nor a reason, or the requester
/// countersigned the receipt that its log lacks: then no reason counts.
pub const ANSWER_NOT_RECEIVED: &str = "ANSWER_NOT_RECEIVED";
/// Difference: a request that nobody answered, and for which no log has a reason.
pub const UNEXPLAINED: &str = "UNEXPLAINED";
/// Difference: the two logs have different receipts of one session.
pub const RECEIPT_DIFFERS: &str = "RECEIPT_DIFFERS";
/// Difference: one party's log lacks a countersignature that the other's has.
pub const COUNTERSIGNATURE_MISSING: &str = "COUNTERSIGNATURE_MISSING";
/// Difference: one party's log lacks a grant that the other's has.
pub const GRANT_MISSING: &str = "GRANT_MISSING";
/// Difference: the provider's log lacks a manifest that the requester installed, of a snapshot, a delta or a table of a joint
/// score.
pub const MANIFEST_MISSING: &str = "MANIFEST_MISSING";
/// Difference: a party's log has other keys than those that its partner enrolled.
pub const KEYS_DIFFER: &str = "KEYS_DIFFER";
/// A directory's log does not say whose it is, so it cannot be compared.
pub const PARTY_UNKNOWN: &str = "PARTY_UNKNOWN";
/// Two directories hold logs of one party.
pub const PARTY_REPEATED: &str = "PARTY_REPEATED";
/// No log asked another of those given.
pub const NOTHING_IN_COMMON: &str = "NOTHING_IN_COMMON";
