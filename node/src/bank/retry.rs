//! Which failed calls are made again, and when: only where the provider could not be reached or had no room, never past
//! the deadline, not before the provider wants it, and always with the same session's bytes.

use std::time::Duration;

use tonic::{Code, Status};

use crate::error::PeerError;

/// Attempts of one call, the first included.
const MAX_ATTEMPTS: u32 = 4;

/// Before the second attempt; twice as long before each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(20);

/// What an attempt needs at least to be worth it.
const LEAST_LEFT: Duration = Duration::from_millis(5);

/// How long to wait before the next attempt; `None` where there is none. `attempt` counts from 1; `left` is the time to
/// the deadline.
pub(super) fn pause(status: &Status, attempt: u32, left: Duration) -> Option<Duration> {
    if attempt >= MAX_ATTEMPTS {
        return None;
    }
    let hint = PeerError::from(status).retry_after_ms.map(Duration::from_millis);
    let backoff = FIRST_PAUSE * 2_u32.pow(attempt - 1);
    let pause = match status.code() {
        Code::Unavailable => hint.map_or(backoff, |hint| hint.max(backoff)),
        // Without a hint waiting does not help.
        Code::ResourceExhausted => hint?.max(backoff),
        _ => return None,
    };
    // At least what was asked for, and not all at once.
    let pause = pause.mul_f64(rand::random_range(1.0..1.5));
    (pause + LEAST_LEFT < left).then_some(pause)
}

/// Whether a failed call says that the provider does not work, rather than that it refuses.
pub(super) fn is_outage(status: &Status) -> bool {
    let codes = [Code::Unavailable, Code::DeadlineExceeded, Code::Cancelled, Code::Unknown, Code::Internal];
    codes.contains(&status.code())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Refusal;

    const PLENTY: Duration = Duration::from_secs(10);

    fn refused(refusal: Refusal) -> Status {
        refusal.into()
    }

    #[test]
    fn only_want_of_room_and_of_a_connection_are_tried_again() {
        assert!(pause(&Status::unavailable(""), 1, PLENTY).is_some());
        let overloaded = refused(Refusal::Overloaded { what: "calls", retry_after_ms: 300 });
        let wait = pause(&overloaded, 1, PLENTY).unwrap();
        assert!((300..450).contains(&wait.as_millis()), "{wait:?}");
        let used_up = Refusal::QuotaExhausted { quota: "in total", retry_after_ms: None };
        for never in [refused(used_up), refused(Refusal::GrantUnknown), Status::deadline_exceeded("")] {
            assert_eq!(pause(&never, 1, PLENTY), None, "{never:?}");
        }
    }

    #[test]
    fn attempts_end_with_the_deadline_and_their_number() {
        let overloaded = refused(Refusal::Overloaded { what: "calls", retry_after_ms: 300 });
        assert_eq!(pause(&overloaded, 1, Duration::from_millis(300)), None);
        assert!(pause(&Status::unavailable(""), 3, PLENTY).is_some_and(|pause| pause.as_millis() >= 80));
        assert_eq!(pause(&Status::unavailable(""), 4, PLENTY), None);
    }
}
