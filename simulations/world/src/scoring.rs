//! A joint score: the numbers that it is about, each party's parts, and every sum.
//!
//! Every number has its carrier's part, from its tags and its tenure. The other carriers hold one where they saw
//! calls, messages or complaints, and the authority holds one for every number for which any carrier does, so that
//! no sum is one party's part. Of some numbers the others have heard what their own carrier has not yet: these are
//! what a joint score finds and tags do not.

use crate::applicants::Applicant;
use crate::files::{Sheet, TextEncoding};
use crate::layout::Layout;
use crate::noise;
use crate::numbering::CARRIERS;
use crate::policy::colour_with_score;
use crate::seed::Purpose;
use crate::subscriber::{Subscriber, Tag};
use crate::world::{PARTIES, World};
use rand::{Rng, RngExt};
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The party id of the anti-fraud centre.
pub const AUTHORITY: &str = "authority";

const MEMBERS: usize = CARRIERS + 1;

/// Who adds parts, ascending, and the part of every number of which a party knows nothing.
pub const SCORING_PARTIES: [(&str, u8); MEMBERS] =
    [(AUTHORITY, 4), (PARTIES[0], 6), (PARTIES[1], 5), (PARTIES[2], 7)];

/// The model's name.
pub const SCORE_MODEL: &str = "world-fraud-1";

/// The header of the list of number segments.
pub const SEGMENTS_HEADER: [&str; 1] = ["segment"];

/// The header of the files of parts.
pub const PARTS_HEADER: [&str; 2] = ["number", "part"];

/// The header of the truth about all numbers.
pub const SCORE_TRUTH_HEADER: [&str; 3] = ["number", "sum", "band"];

/// The header of the truth about the bank's applicants.
pub const SCORE_APPLICATIONS_HEADER: [&str; 4] = ["申请号", "sum", "band", "colour"];

/// Numbers of a segment.
const PER_SEGMENT: usize = 10_000;

/// From a sum to a probability in millionths; it is stated, not fitted.
const KNOTS: [(u16, u32); 5] = [(0, 500), (80, 10_000), (200, 350_000), (400, 900_000), (1_020, 990_000)];

/// What a sum says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ScoreBand {
    /// Sums from 0.
    Low,
    /// Sums from 80.
    Medium,
    /// Sums from 200.
    High,
    /// Sums from 400.
    VeryHigh,
}

impl ScoreBand {
    /// Every band, ascending.
    pub const ALL: [Self; 4] = [Self::Low, Self::Medium, Self::High, Self::VeryHigh];

    /// The least sum in the band.
    pub const fn from(self) -> u16 {
        match self {
            Self::Low => 0,
            Self::Medium => 80,
            Self::High => 200,
            Self::VeryHigh => 400,
        }
    }

    /// The band of a sum.
    pub fn of(sum: u16) -> Self {
        Self::ALL.into_iter().rfind(|band| band.from() <= sum).expect("the first band begins at 0")
    }

    /// The code that stands in the files.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::VeryHigh => "very_high",
        }
    }
}

/// What all parties together say of one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JointScore {
    /// The parts, in the order of [`SCORING_PARTIES`]; `None` where a party knows nothing, so that its default counts.
    pub parts: [Option<u8>; MEMBERS],
}

impl JointScore {
    /// The score of a number that nobody knows.
    pub const UNKNOWN: Self = Self { parts: [None; MEMBERS] };

    /// The sum of all parts.
    pub fn sum(&self) -> u16 {
        let held = self.parts.iter().zip(SCORING_PARTIES);
        held.map(|(part, (_, default))| u16::from(part.unwrap_or(default))).sum()
    }

    /// The band of the sum.
    pub fn band(&self) -> ScoreBand {
        ScoreBand::of(self.sum())
    }
}

/// Where a joint score was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScoringFiles {
    /// The number segments, ascending.
    pub segments: PathBuf,
    /// Each party's id, its file of parts, and its default.
    pub parts: Vec<(String, PathBuf, u8)>,
    /// The model's public card.
    pub model: PathBuf,
    /// Sum and band of every number of the segments, ascending.
    pub truth: PathBuf,
    /// Sum, band and colour of every applicant.
    pub applications: PathBuf,
}

impl ScoringFiles {
    /// Where [`World::write_scoring`] writes them.
    pub fn at(dir: &Path) -> Self {
        let parts = SCORING_PARTIES
            .map(|(party, default)| (party.to_owned(), dir.join(format!("parts-{party}.csv")), default));
        Self {
            segments: dir.join("segments.csv"),
            parts: parts.to_vec(),
            model: dir.join("model.toml"),
            truth: dir.join("score-truth.csv"),
            applications: dir.join("score-applications.csv"),
        }
    }
}

impl World {
    /// What all parties together say of a subscriber's number.
    pub fn joint_score(&self, subscriber: &Subscriber) -> JointScore {
        joint_score(&self.layout, subscriber)
    }

    /// Writes a joint score into `dir`, which exists. It takes two bytes of memory a number of the segments. The
    /// truth about the applicants comes first; that about all numbers comes of the parts that were written.
    ///
    /// # Errors
    /// Those of creating and writing files.
    pub fn write_scoring(&self, dir: &Path) -> io::Result<ScoringFiles> {
        let files = ScoringFiles::at(dir);
        write_applications(self, &files.applications)?;
        let universe = Universe::of(self);
        universe.write(&files.segments)?;
        let sums = write_parts(self, &universe, &files)?;
        universe.write_truth(&sums, &files.truth)?;
        fs::write(&files.model, card(&sums))?;
        Ok(files)
    }
}

/// The segments of all carriers, ascending.
struct Universe(Vec<u32>);

impl Universe {
    fn of(world: &World) -> Self {
        let mut segments: Vec<_> =
            world.carriers.iter().flat_map(|carrier| carrier.segments.iter().copied()).collect();
        segments.sort_unstable();
        Self(segments)
    }

    /// The place of a number of 11 digits. Every number of the world lies in a segment of some carrier.
    fn position(&self, phone: &str) -> usize {
        let digits = |range: std::ops::Range<usize>| phone[range].parse::<u32>().expect("a number is digits");
        let segment = self.0.binary_search(&digits(0..7)).expect("numbers are drawn from the segments");
        segment * PER_SEGMENT + digits(7..11) as usize
    }

    fn write(&self, path: &Path) -> io::Result<()> {
        let mut sheet = Sheet::create(path, TextEncoding::Utf8)?;
        sheet.row(SEGMENTS_HEADER)?;
        self.0.iter().try_for_each(|segment| sheet.row([segment.to_string()]))?;
        sheet.finish()
    }

    fn write_truth(&self, sums: &[u16], path: &Path) -> io::Result<()> {
        let mut sheet = Sheet::create(path, TextEncoding::Utf8)?;
        sheet.row(SCORE_TRUTH_HEADER)?;
        for (segment, sums) in self.0.iter().zip(sums.chunks_exact(PER_SEGMENT)) {
            for (within, sum) in sums.iter().enumerate() {
                let band = ScoreBand::of(*sum).code();
                sheet.row([format!("{segment}{within:04}").as_str(), &sum.to_string(), band])?;
            }
        }
        sheet.finish()
    }
}

/// What others have heard of a number that its carrier has not.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Hearsay {
    Nothing,
    Complaints,
    Report,
}

fn joint_score(layout: &Layout, subscriber: &Subscriber) -> JointScore {
    let key = Layout::row_key(subscriber.carrier, subscriber.row);
    let heard = match layout.seed.stream(Purpose::Hearsay, key).random_range(0..96) {
        0..2 => Hearsay::Report,
        2..5 => Hearsay::Complaints,
        _ => Hearsay::Nothing,
    };
    let mut rng = layout.seed.stream(Purpose::Part, key);
    let tenure = layout.as_of.days_since(subscriber.activated);
    let parts = SCORING_PARTIES.map(|(party, default)| {
        let part = match PARTIES.iter().position(|carrier| *carrier == party) {
            None => Some(reported(&mut rng, subscriber, heard)),
            Some(carrier) if carrier == subscriber.carrier => Some(own(&mut rng, subscriber, tenure)),
            Some(_) => seen(&mut rng, subscriber, heard),
        };
        part.map(|part| unlike(part, default))
    });
    JointScore { parts }
}

/// The part of the number's own carrier: tags, and a short tenure.
fn own(rng: &mut impl Rng, subscriber: &Subscriber, tenure: i64) -> u16 {
    let tags = weigh(subscriber, [140, 120, 70, 50, 45, 30]);
    let tenure = match tenure {
        ..30 => 45,
        30..90 => 25,
        90..365 => 10,
        _ => 0,
    };
    tags + tenure + rng.random_range(0..=12)
}

/// The part of another carrier, if its network saw the number: one in four ordinary ones, and all that complaints
/// are about.
fn seen(rng: &mut impl Rng, subscriber: &Subscriber, heard: Hearsay) -> Option<u16> {
    let (heard, share) = match heard {
        Hearsay::Report => (130, 8),
        Hearsay::Complaints => (90, 8),
        Hearsay::Nothing if subscriber.tags.is_empty() => (0, 2),
        Hearsay::Nothing => (0, 6),
    };
    let part = heard + weigh(subscriber, [70, 50, 40, 60, 55, 10]) + rng.random_range(0..=8);
    rng.random_ratio(share, 8).then_some(part)
}

/// The authority's part: reports of victims, and the company that a number keeps.
fn reported(rng: &mut impl Rng, subscriber: &Subscriber, heard: Hearsay) -> u16 {
    let heard = match heard {
        Hearsay::Report => 200,
        Hearsay::Complaints => 110,
        Hearsay::Nothing => 0,
    };
    let ring = if subscriber.ring_fellow.is_some() { 40 } else { 0 };
    heard + ring + weigh(subscriber, [150, 130, 60, 25, 25, 10]) + rng.random_range(0..=9)
}

/// The weights, in the order of [`Tag::ALL`], of the tags that the number has.
fn weigh(subscriber: &Subscriber, weights: [u16; 6]) -> u16 {
    let weighed = Tag::ALL.into_iter().zip(weights);
    weighed.filter(|(tag, _)| subscriber.tags.contains(tag)).map(|(_, weight)| weight).sum()
}

/// The part in a byte, and never the default: a party that holds a part for a number says something of its own.
fn unlike(part: u16, default: u8) -> u8 {
    let part = part.min(255) as u8;
    if part == default { part + 1 } else { part }
}

/// Writes every party's file, a block of numbers in memory at a time; gives the sum of every number.
fn write_parts(world: &World, universe: &Universe, files: &ScoringFiles) -> io::Result<Vec<u16>> {
    let layout = &world.layout;
    let mut sheets = files
        .parts
        .iter()
        .map(|(_, path, _)| {
            let mut sheet = Sheet::create(path, TextEncoding::Utf8)?;
            sheet.row(PARTS_HEADER)?;
            Ok(sheet)
        })
        .collect::<io::Result<Vec<_>>>()?;
    let mut sums = vec![JointScore::UNKNOWN.sum(); universe.0.len() * PER_SEGMENT];
    for block in 0..layout.block_count() {
        for subscriber in (0..CARRIERS).flat_map(|carrier| layout.block_rows(carrier, block)) {
            let score = joint_score(layout, &subscriber);
            sums[universe.position(&subscriber.phone)] = score.sum();
            write_row(layout, &subscriber, &score, &mut sheets)?;
        }
    }
    sheets.into_iter().try_for_each(Sheet::finish)?;
    Ok(sums)
}

fn write_row(
    layout: &Layout,
    subscriber: &Subscriber,
    score: &JointScore,
    sheets: &mut [Sheet],
) -> io::Result<()> {
    let key = Layout::row_key(subscriber.carrier, subscriber.row) * MEMBERS as u64;
    for ((member, part), sheet) in (0..).zip(score.parts).zip(sheets) {
        if let Some(part) = part {
            let mut rng = layout.seed.stream(Purpose::PartNoise, key + member);
            sheet.row([noise::phone(&mut rng, &subscriber.phone), part.to_string()])?;
        }
    }
    Ok(())
}

fn write_applications(world: &World, path: &Path) -> io::Result<()> {
    let mut sheet = Sheet::create(path, TextEncoding::Utf8)?;
    sheet.row(SCORE_APPLICATIONS_HEADER)?;
    for Applicant { application, truth } in &world.applicants {
        let carrier = PARTIES.iter().position(|party| Some(*party) == truth.carrier.as_deref());
        let stands = carrier.zip(truth.row);
        let score = stands.map_or(JointScore::UNKNOWN, |(carrier, row)| {
            joint_score(&world.layout, &world.layout.subscriber(carrier, row))
        });
        let (sum, band) = (score.sum().to_string(), score.band());
        let colour = colour_with_score(truth.colour, band).code();
        sheet.row([application.number.as_str(), &sum, band.code(), colour])?;
    }
    sheet.finish()
}

/// The model's card, TOML: knots, bands, and the share of all numbers that each band has.
fn card(sums: &[u16]) -> String {
    let mut text = format!("name = \"{SCORE_MODEL}\"\n");
    // Writing to a string cannot fail.
    for (sum, probability) in KNOTS {
        let _ = write!(text, "\n[[knot]]\nsum = {sum}\nprobability = {}\n", millionths(probability));
    }
    for (band, share) in ScoreBand::ALL.into_iter().zip(shares(sums)) {
        let (name, from) = (band.code(), band.from());
        let _ = write!(text, "\n[[band]]\nname = \"{name}\"\nfrom = {from}\nshare = {}\n", millionths(share));
    }
    text
}

/// Each band's share in millionths, rounded down, and the first band's so that they add up to a million.
fn shares(sums: &[u16]) -> [u32; 4] {
    let of = |band| sums.iter().filter(|sum| ScoreBand::of(**sum) == band).count() as u64;
    let mut shares = ScoreBand::ALL.map(|band| (of(band) * 1_000_000 / sums.len() as u64) as u32);
    shares[0] = 1_000_000 - shares[1..].iter().sum::<u32>();
    shares
}

fn millionths(value: u32) -> String {
    format!("{}.{:06}", value / 1_000_000, value % 1_000_000)
}
