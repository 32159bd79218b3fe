//! The monitor on seeded streams.

use rand_chacha::ChaCha20Rng;
use rand_core::{Rng as _, SeedableRng as _};

use super::*;
use crate::score::card::{SAMPLE, parse};

const SEED: u64 = 20_261_126;

/// What a stream is made of: chances of each outcome and colour.
#[derive(Clone, Copy)]
struct Stream {
    bands: [f64; 3],
    outside: f64,
    unavailable: f64,
    undecodable: f64,
    red: f64,
}

/// As the sample's card expects.
const STABLE: Stream =
    Stream { bands: [0.9, 0.08, 0.02], outside: 0.2, unavailable: 0.01, undecodable: 0.0, red: 0.04 };

impl Stream {
    fn next(&self, rng: &mut ChaCha20Rng) -> Observation {
        let mut chance = || (rng.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
        let (at, band) = (chance(), chance());
        let outcome = match () {
            () if at < self.outside => Outcome::Outside,
            () if at < self.outside + self.unavailable => Outcome::Unavailable,
            () if at < self.outside + self.unavailable + self.undecodable => Outcome::Undecodable,
            () if band < self.bands[0] => Outcome::Band(0),
            () if band < self.bands[0] + self.bands[1] => Outcome::Band(1),
            () => Outcome::Band(2),
        };
        let colour = if chance() < self.red { Colour::Red } else { Colour::Green };
        Observation { outcome, colour: Some(colour) }
    }
}

struct Run {
    monitor: Monitor,
    rng: ChaCha20Rng,
}

impl Run {
    fn new(config: &ScoreConfig) -> Self {
        Self { monitor: Monitor::new(&parse(SAMPLE).unwrap(), config), rng: ChaCha20Rng::seed_from_u64(SEED) }
    }

    /// The verdicts of some windows.
    fn windows(&mut self, stream: &Stream, count: u64) -> Vec<Verdict> {
        let calls = count * self.monitor.config.window;
        (0..calls).filter_map(|_| self.monitor.observe(&stream.next(&mut self.rng))).collect()
    }

    fn window(&mut self, stream: &Stream) -> Verdict {
        self.windows(stream, 1).pop().unwrap()
    }
}

fn kinds(verdict: &Verdict) -> Vec<What> {
    verdict.findings().iter().map(|finding| finding.what).collect()
}

#[test]
fn a_stable_stream_gives_no_alert_over_fifty_windows() {
    let mut run = Run::new(&ScoreConfig::default());
    assert_eq!(run.windows(&STABLE, 50), vec![Verdict::Fine; 50]);
    let last = run.monitor.summary().last.unwrap();
    assert_eq!((last.number, last.counts.calls), (50, 1_000));
    assert!(last.psi.unwrap() < 0.05 && (last.hit_rate - 0.8).abs() < 0.05, "{last:?}");
}

#[test]
fn a_shifted_stream_alerts_in_its_first_window_and_says_when_it_repeats_itself() {
    let mut run = Run::new(&ScoreConfig::default());
    run.windows(&STABLE, 3);
    let shifted = Stream { bands: [0.75, 0.18, 0.07], ..STABLE };
    let Verdict::Alert { findings, repeated: false } = run.window(&shifted) else { panic!("no alert") };
    let [Finding { what: What::Drift, found, limit: 0.1 }] = findings[..] else { panic!("{findings:?}") };
    assert!((0.1..0.25).contains(&found));
    assert!(matches!(run.window(&shifted), Verdict::Alert { repeated: true, .. }));
    assert_eq!(run.window(&STABLE), Verdict::Fine);
    assert!(matches!(run.window(&shifted), Verdict::Alert { repeated: false, .. }));
}

#[test]
fn an_alert_that_could_not_be_told_is_said_again() {
    let mut run = Run::new(&ScoreConfig::default());
    let shifted = Stream { bands: [0.75, 0.18, 0.07], ..STABLE };
    for (untold, expected) in [(true, false), (false, false), (false, true)] {
        let verdict = run.window(&shifted);
        assert!(matches!(verdict, Verdict::Alert { repeated, .. } if repeated == expected), "{verdict:?}");
        if untold {
            run.monitor.untold();
        }
    }
}

#[test]
fn a_fallback_comes_at_its_limit_and_not_before() {
    let strange = Stream { bands: [0.6, 0.3, 0.1], ..STABLE };
    let mut run = Run::new(&ScoreConfig::default());
    let verdict = run.window(&strange);
    let Verdict::Fallback { findings } = &verdict else { panic!("{verdict:?}") };
    let found = findings[0].found;
    assert!(findings[0].what == What::Drift && findings[0].limit == 0.25 && found > 0.25);
    for (limit, falls_back) in [(found, true), (found * 1.000_001, false)] {
        let mut run = Run::new(&ScoreConfig { psi_fallback: limit, ..ScoreConfig::default() });
        assert_eq!(matches!(run.window(&strange), Verdict::Fallback { .. }), falls_back);
    }
}

#[test]
fn the_share_of_unavailable_calls_alerts_and_then_falls_back() {
    let stream = |unavailable| Stream { outside: 0.0, unavailable, ..STABLE };
    let mut run = Run::new(&ScoreConfig::default());
    assert_eq!(run.window(&stream(0.02)), Verdict::Fine);
    let alert = run.window(&stream(0.2));
    assert!(matches!(alert, Verdict::Alert { .. }));
    assert_eq!(kinds(&alert), [What::Unavailable]);
    let fallback = run.window(&stream(0.7));
    assert!(matches!(fallback, Verdict::Fallback { .. }));
    assert_eq!(kinds(&fallback), [What::Unavailable]);
    let last = run.monitor.summary().last.unwrap();
    assert_eq!(last.psi, None, "three hundred scores are too few for an index");
}

#[test]
fn one_row_that_does_not_decode_alerts_and_half_of_them_fall_back() {
    let mut run = Run::new(&ScoreConfig::default());
    let planted = Observation { outcome: Outcome::Undecodable, colour: None };
    assert_eq!(run.monitor.observe(&planted), None);
    let verdict = run.window(&Stream { outside: 0.0, ..STABLE });
    assert_eq!(kinds(&verdict), [What::Undecodable]);
    assert!(matches!(verdict, Verdict::Alert { .. }));
    let verdict = run.windows(&Stream { undecodable: 0.6, ..STABLE }, 1).pop().unwrap();
    assert!(matches!(verdict, Verdict::Fallback { .. }));
    assert!(kinds(&verdict).contains(&What::Undecodable));
}

#[test]
fn rates_are_held_against_earlier_windows_and_a_strange_one_does_not_move_the_mean() {
    let mut run = Run::new(&ScoreConfig::default());
    let red = Stream { red: 0.3, ..STABLE };
    assert_eq!(run.windows(&STABLE, 5), vec![Verdict::Fine; 5]);
    assert_eq!(kinds(&run.window(&red)), [What::RedRate]);
    assert_eq!(run.windows(&red, 30).iter().filter(|verdict| kinds(verdict) == [What::RedRate]).count(), 30);
    assert_eq!(kinds(&run.window(&Stream { outside: 0.5, ..STABLE })), [What::HitRate]);
    assert_eq!(run.window(&STABLE), Verdict::Fine);
}

#[test]
fn the_first_windows_make_the_mean_of_rates_and_no_alert() {
    let mut run = Run::new(&ScoreConfig::default());
    for red in [0.0, 0.3, 0.6, 0.1, 0.5] {
        assert_eq!(run.window(&Stream { red, ..STABLE }), Verdict::Fine);
    }
}

#[test]
fn the_same_calls_give_the_same_verdicts_and_figures() {
    let (mut one, mut two) = (Run::new(&ScoreConfig::default()), Run::new(&ScoreConfig::default()));
    let shifted = Stream { bands: [0.85, 0.1, 0.05], ..STABLE };
    assert_eq!(one.windows(&shifted, 4), two.windows(&shifted, 4));
    assert_eq!(one.monitor.summary(), two.monitor.summary());
}

#[test]
fn a_band_that_the_card_does_not_have_counts_as_undecodable() {
    let mut run = Run::new(&ScoreConfig::default());
    run.monitor.observe(&Observation { outcome: Outcome::Band(3), colour: None });
    let current = run.monitor.summary().current;
    assert_eq!((current.calls, current.undecodable, current.decisions), (1, 1, 0));
    let json = serde_json::to_value(run.monitor.summary()).unwrap();
    assert_eq!(json["current"]["bands"], serde_json::json!([0, 0, 0]));
}
