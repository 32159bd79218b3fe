//! Checks that a running node and the commands share. Each gives nothing where all is well.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::{Finding, Scope, Severity};
use crate::clock::rfc3339;
use crate::config::ObservabilityConfig;
use crate::evidence::LogCondition;
use crate::functions::{Function, Functions};
use crate::identity::Layout;
use crate::peer::Ending;
use crate::policy::{Quota, QuotaName};
use crate::snapshot::disk::free_bytes;

const DAY_MS: u64 = 86_400_000;
const HOUR_MS: u64 = 3_600_000;

/// Days before a grant ends at which it is worth a warning; grants are shorter than certificates.
pub const GRANT_DAYS: u64 = 3;

/// An epoch that ends within this time is worth a warning.
const EPOCH_WARNING_MS: u64 = 2 * HOUR_MS;

/// Space on the disk of the data directory.
pub fn disk(dir: &Path, config: &ObservabilityConfig) -> Option<Finding> {
    let advice = "make room on the disk of data_dir, or move it to a larger one; if calls end with LOG_UNAVAILABLE then, run \
                  windvane audit verify and start the node again";
    let free = match free_bytes(dir) {
        Ok(bytes) => bytes >> 20,
        Err(error) => {
            return Some(Finding::problem("DISK_UNREADABLE", error.to_string(), "mount data_dir again"));
        }
    };
    let least = config.min_free_disk_mb;
    if free < least {
        let what = format!("{free} MiB are free, {least} are needed");
        return Some(Finding::problem("DISK_FULL", what, advice));
    }
    (free < least.saturating_mul(2))
        .then(|| Finding::warning("DISK_LOW", format!("{free} MiB are free, {least} are needed"), advice))
}

/// Keys and state where they were when the node opened them: an open file outlives its name.
pub fn files(layout: &Layout) -> Vec<Finding> {
    let restore = "restore it from the last backup before the node stops";
    let gone = |code, what: &str| Finding::problem(code, format!("{what} is not there any more"), restore);
    let keys = (!layout.keys().is_dir()).then(|| gone("KEYS_MISSING", "the key store"));
    let state = (!layout.state().is_file()).then(|| gone("STATE_MISSING", "the state file"));
    let log = (!layout.log().is_dir()).then(|| gone("LOG_MISSING", "the log's directory"));
    keys.into_iter().chain(state).chain(log).collect()
}

/// Who may read what others must not: the data directory, the keys, the state.
pub fn modes(layout: &Layout) -> Vec<Finding> {
    let loose = |path: &Path, forbidden: u32| {
        let mode = std::fs::metadata(path).ok()?.permissions().mode() & 0o777;
        (mode & forbidden != 0).then(|| {
            let (path, tight) = (path.display(), mode & !forbidden);
            let what = format!("{path} has mode {mode:03o}, so that other users of this machine reach it");
            Finding::warning("MODE_LOOSE", what, format!("chmod {tight:03o} {path}"))
        })
    };
    let below_keys = std::fs::read_dir(layout.keys()).into_iter().flatten().flatten();
    let secrets = below_keys.filter_map(|entry| loose(&entry.path(), 0o077));
    let folder = loose(layout.root(), 0o022);
    // SQLite makes the two beside the state file with its mode, and leaves them when that is changed.
    let state = ["", "-wal", "-shm"].map(|ending| {
        let mut path = layout.state().into_os_string();
        path.push(ending);
        PathBuf::from(path)
    });
    let own = [layout.keys()].into_iter().chain(state).filter_map(|path| loose(&path, 0o077));
    folder.into_iter().chain(own).chain(secrets).collect()
}

/// What is switched off, and which partners are suspended of those that `is_partner` knows. Verification is a problem where
/// a command took its work, in the scope that `lookups` says, and no finding where it had none. Anything else is given up by
/// itself, so that the node is as ready as it is wanted; what its configuration keeps off is no more than worth knowing.
pub fn switched_off(
    functions: &Functions,
    lookups: Option<Scope>,
    is_partner: impl Fn(&str) -> bool,
) -> Vec<Finding> {
    let (off, suspended) = functions.off_now();
    let off = off.into_iter().filter_map(|function| {
        let by_command = functions.is_configured(function);
        let advice = if by_command {
            format!("windvane function on {function}")
        } else {
            format!("set {function} = true in [functions] of the configuration, and start the node again")
        };
        let (severity, scope) = match function {
            Function::Verification if by_command => (Severity::Problem, lookups?),
            _ if by_command => (Severity::Warning, Scope::Node),
            _ => (Severity::Note, Scope::Node),
        };
        let what = format!("{function} is switched off, and all calls of it are refused");
        Some(Finding::new(severity, function.off_code(), what, advice).in_scope(scope))
    });
    let suspended = suspended.into_iter().filter(|party| is_partner(party)).map(|party| {
        let advice = format!("windvane partner resume {party}");
        Finding::warning("PARTNER_SUSPENDED", "it is suspended here", advice).about(party)
    });
    off.chain(suspended).collect()
}

/// A certificate that ends or has ended, or a revocation list that is overdue.
pub fn ending(Ending { code, party, what, advice, stops_node }: Ending) -> Finding {
    let severity = if stops_node { Severity::Problem } else { Severity::Warning };
    let found = Finding::new(severity, code, what, advice);
    match party {
        Some(party) => found.about(party),
        None => found,
    }
}

/// When a table was built and until when it may be used.
#[derive(Debug, Clone, Copy)]
pub struct Age {
    /// When it was built, milliseconds of Unix time.
    pub built_at_ms: u64,
    /// When its epoch ends, milliseconds of Unix time.
    pub until_ms: u64,
}

/// The epoch of a published or downloaded data set; `renewal` is what to do about it.
pub fn epoch(
    subject: &str,
    age: Age,
    now_ms: u64,
    config: &ObservabilityConfig,
    renewal: &str,
) -> Option<Finding> {
    let until = rfc3339(age.until_ms);
    if age.until_ms < now_ms {
        let found = Finding::problem("EPOCH_EXPIRED", format!("the epoch ended at {until}"), renewal);
        return Some(found.about(subject));
    }
    let hours = now_ms.saturating_sub(age.built_at_ms) / HOUR_MS;
    if let Some(most) = config.max_data_age_hours.filter(|most| hours >= *most) {
        let what = format!("the data are {hours} hours old, at most {most} are wanted");
        return Some(Finding::problem("DATA_OLD", what, renewal).about(subject));
    }
    (age.until_ms < now_ms.saturating_add(EPOCH_WARNING_MS))
        .then(|| Finding::warning("EPOCH_ENDS", format!("the epoch ends at {until}"), renewal).about(subject))
}

/// A grant that ends soon, or ended.
pub fn grant(subject: &str, until_ms: u64, now_ms: u64, days: u64) -> Option<Finding> {
    let until = rfc3339(until_ms);
    let advice = "issue (provider) and accept (bank) a new grant: windvane grant";
    if until_ms < now_ms {
        let what = format!("the last grant ended at {until}");
        return Some(Finding::problem("GRANT_EXPIRED", what, advice).about(subject));
    }
    (until_ms < now_ms.saturating_add(days * DAY_MS))
        .then(|| Finding::warning("GRANT_ENDS", format!("the grant ends at {until}"), advice).about(subject))
}

/// A quota of which much was used.
pub fn quota(name: &QuotaName, quota: Quota, warning: f64) -> Option<Finding> {
    let QuotaName { peer, purpose, group, window } = name;
    let Quota { used, limit } = quota;
    let advice = "agree on a grant with a larger quota before it is used up";
    let what = format!("{used} of {limit} elements are used ({purpose}, {group}, {window})");
    if used >= limit {
        return Some(Finding::warning("QUOTA_USED_UP", what, advice).about(peer));
    }
    (used as f64 >= limit as f64 * warning)
        .then(|| Finding::warning("QUOTA_NEARLY_USED", what, advice).about(peer))
}

/// How the log stands.
pub fn log(condition: &LogCondition, config: &ObservabilityConfig) -> Option<Finding> {
    if let Some(reason) = &condition.refuses {
        let advice = "repair the disk, check the log with windvane audit verify, and start the node again";
        return Some(Finding::problem("LOG_UNAVAILABLE", reason.as_str(), advice));
    }
    let waits = condition.unpublished_for.unwrap_or_default().as_millis();
    (waits > u128::from(config.max_checkpoint_age_ms)).then(|| {
        let what = format!("entries have waited for {} s for a checkpoint over them", waits / 1_000);
        Finding::problem("CHECKPOINT_OVERDUE", what, "see whether the disk of data_dir is slow or full")
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::FunctionsConfig;
    use crate::store::Store;

    const NOW: u64 = 1_000 * DAY_MS;

    fn code(found: Option<Finding>) -> Option<String> {
        found.map(|found| format!("{} {}", found.severity.name(), found.code))
    }

    #[test]
    fn ends_are_told_before_and_after_they_come() {
        let config = ObservabilityConfig { max_data_age_hours: Some(30), ..Default::default() };
        let of = |code_of, stops_node| {
            let (party, what) = (Some("bank".to_owned()), String::new());
            code(Some(ending(Ending { code: code_of, party, what, advice: "renew", stops_node })))
        };
        assert_eq!(of("CERTIFICATE_EXPIRED", true).as_deref(), Some("problem CERTIFICATE_EXPIRED"));
        let theirs = of("PARTNER_CERTIFICATE_EXPIRED", false);
        assert_eq!(theirs.as_deref(), Some("warning PARTNER_CERTIFICATE_EXPIRED"));
        assert_eq!(of("CERTIFICATE_ENDS", false).as_deref(), Some("warning CERTIFICATE_ENDS"));
        let of = |until| code(grant("bank", until, NOW, 7));
        assert_eq!(of(NOW - 1).as_deref(), Some("problem GRANT_EXPIRED"));
        assert_eq!(of(NOW + 6 * DAY_MS).as_deref(), Some("warning GRANT_ENDS"));
        assert_eq!(of(NOW + 8 * DAY_MS), None);
        let of =
            |built_at_ms, until_ms| code(epoch("s", Age { built_at_ms, until_ms }, NOW, &config, "renew"));
        assert_eq!(of(NOW, NOW - 1).as_deref(), Some("problem EPOCH_EXPIRED"));
        assert_eq!(of(NOW - 30 * HOUR_MS, NOW + DAY_MS).as_deref(), Some("problem DATA_OLD"));
        assert_eq!(of(NOW - 29 * HOUR_MS, NOW + HOUR_MS).as_deref(), Some("warning EPOCH_ENDS"));
        assert_eq!(of(NOW - 29 * HOUR_MS, NOW + DAY_MS), None);
    }

    #[test]
    fn a_quota_is_told_before_and_when_it_is_used_up() {
        let name = QuotaName { peer: "bank".into(), purpose: "p".into(), group: "match", window: "day" };
        let of = |used| code(quota(&name, Quota { used, limit: 100 }, 0.9));
        assert_eq!(of(89), None);
        assert_eq!(of(90).as_deref(), Some("warning QUOTA_NEARLY_USED"));
        assert_eq!(of(100).as_deref(), Some("warning QUOTA_USED_UP"));
    }

    #[test]
    fn a_log_that_refuses_or_lags_is_a_problem() {
        let config = ObservabilityConfig { max_checkpoint_age_ms: 2_000, ..Default::default() };
        let waiting =
            |ms| LogCondition { unpublished_for: Some(Duration::from_millis(ms)), ..Default::default() };
        assert_eq!(code(log(&LogCondition::default(), &config)), None);
        assert_eq!(code(log(&waiting(2_000), &config)), None);
        assert_eq!(code(log(&waiting(2_001), &config)).as_deref(), Some("problem CHECKPOINT_OVERDUE"));
        let refuses = LogCondition { refuses: Some("the disk is gone".into()), ..waiting(9_000) };
        assert_eq!(code(log(&refuses, &config)).as_deref(), Some("problem LOG_UNAVAILABLE"));
    }

    #[test]
    fn a_disk_with_too_little_room_is_a_problem_and_with_little_a_warning() {
        let dir = tempfile::tempdir().unwrap();
        let free = free_bytes(dir.path()).unwrap() >> 20;
        let with = |min_free_disk_mb| ObservabilityConfig { min_free_disk_mb, ..Default::default() };
        assert_eq!(code(disk(dir.path(), &with(0))), None);
        assert_eq!(code(disk(dir.path(), &with(free * 2 / 3))).as_deref(), Some("warning DISK_LOW"));
        assert_eq!(code(disk(dir.path(), &with(free * 2))).as_deref(), Some("problem DISK_FULL"));
        assert_eq!(code(disk(&dir.path().join("no"), &with(1))).as_deref(), Some("problem DISK_UNREADABLE"));
    }

    #[test]
    fn what_is_switched_off_is_told_with_the_way_back() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("state.db")).unwrap();
        let configured = FunctionsConfig { training: false, ..Default::default() };
        let functions = Functions::open(configured, &store).unwrap();
        for off in ["function/verification", "function/batches", "partner/bank", "partner/former"] {
            store.switch_off(off, 1, b"entry").unwrap();
        }
        functions.reload(&store).unwrap();
        let of = |lookups| {
            let found = switched_off(&functions, lookups, |party| party == "bank");
            found.iter().map(|found| (found.severity, found.short(), found.scope)).collect::<Vec<_>>()
        };
        let others = [
            (Severity::Warning, "BATCHES_OFF".to_owned(), Scope::Node),
            (Severity::Note, "TRAINING_OFF".to_owned(), Scope::Node),
            (Severity::Warning, "bank: PARTNER_SUSPENDED".to_owned(), Scope::Node),
        ];
        assert_eq!(of(None), others);
        assert_eq!(of(Some(Scope::Bank))[0], (Severity::Problem, "VERIFICATION_OFF".to_owned(), Scope::Bank));
        let advice: Vec<_> =
            switched_off(&functions, None, |_| false).into_iter().map(|found| found.advice).collect();
        assert_eq!(advice[0], "windvane function on batches");
        assert!(advice[1].contains("[functions]"), "{}", advice[1]);
    }

    #[test]
    fn loose_modes_are_named_with_the_command_that_tightens_them() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path().to_owned());
        std::fs::create_dir(layout.keys()).unwrap();
        let set = |path: &Path, mode| {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        set(dir.path(), 0o755);
        set(&layout.keys(), 0o700);
        assert_eq!(modes(&layout), []);
        set(&layout.keys(), 0o750);
        let found = modes(&layout);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].advice.starts_with("chmod 700 "), "{}", found[0].advice);
        set(&layout.keys(), 0o700);
        drop(Store::open(&layout.state()).unwrap());
        assert_eq!(modes(&layout), []);
        set(&layout.state(), 0o644);
        assert!(modes(&layout)[0].advice.starts_with("chmod 600 "));
        set(&layout.state(), 0o600);
        let log = layout.state().with_extension("db-wal");
        std::fs::write(&log, []).unwrap();
        set(&log, 0o644);
        assert_eq!(modes(&layout)[0].advice, format!("chmod 600 {}", log.display()));
    }
}
