//! The joint score's files, read back as a stranger would.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests, which clippy does not see here")]

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

use windvane_world::{
    Class, Colour, PARTS_HEADER, SCORE_APPLICATIONS_HEADER, SCORE_TRUTH_HEADER, SCORING_PARTIES,
    SEGMENTS_HEADER, ScoreBand, ScoringFiles, World, WorldConfig, colour_with_score,
};

fn written(dir: &Path, segments: usize) -> (World, ScoringFiles) {
    let config =
        WorldConfig { subscribers_per_carrier: 3_000, applicants: 1_000, segments, ..WorldConfig::default() };
    let world = World::generate(&config);
    let files = world.write_scoring(dir).unwrap();
    (world, files)
}

fn rows(path: &Path, header: &[&str]) -> Vec<Vec<String>> {
    let mut reader = csv::Reader::from_path(path).unwrap();
    assert_eq!(reader.headers().unwrap(), header);
    reader.records().map(|row| row.unwrap().iter().map(str::to_owned).collect()).collect()
}

fn phone(text: &str) -> String {
    let fold = |c| if ('０'..='９').contains(&c) { char::from_u32(c as u32 - 0xFEE0).unwrap() } else { c };
    let digits: String = text.chars().map(fold).filter(char::is_ascii_digit).collect();
    digits[digits.len() - 11..].to_owned()
}

/// Each party's parts by number, in the order of [`SCORING_PARTIES`].
fn parts(files: &ScoringFiles) -> Vec<HashMap<String, u8>> {
    let read = |(_, path, _): &(String, _, u8)| {
        let rows = rows(path, &PARTS_HEADER);
        let (count, plain) = (rows.len(), rows.iter().filter(|row| row[0] == phone(&row[0])).count());
        assert!(
            count / 32 < count - plain && count - plain < count / 8,
            "some numbers are written unusually"
        );
        let parts: HashMap<_, _> =
            rows.into_iter().map(|row| (phone(&row[0]), row[1].parse().unwrap())).collect();
        assert_eq!(parts.len(), count, "a number stands in a file once");
        parts
    };
    files.parts.iter().map(read).collect()
}

fn truth(files: &ScoringFiles) -> BTreeMap<String, (u16, String)> {
    let rows = rows(&files.truth, &SCORE_TRUTH_HEADER);
    rows.into_iter().map(|row| (row[0].clone(), (row[1].parse().unwrap(), row[2].clone()))).collect()
}

#[test]
fn adding_the_files_gives_the_truth_of_every_number_of_the_segments() {
    for wanted in [3, 7, 12] {
        let dir = tempfile::tempdir().unwrap();
        let (_, files) = written(dir.path(), wanted);
        let segments = rows(&files.segments, &SEGMENTS_HEADER).concat();
        assert_eq!(segments.len(), wanted);
        assert!(segments.is_sorted() && segments.iter().all(|segment| segment.len() == 7));
        let parts = parts(&files);
        let add = |number: &String| {
            let held = parts.iter().zip(SCORING_PARTIES);
            held.map(|(parts, (_, default))| u16::from(parts.get(number).copied().unwrap_or(default))).sum()
        };
        let numbers = segments.iter().flat_map(|s| (0..10_000).map(move |within| format!("{s}{within:04}")));
        let added: BTreeMap<_, _> = numbers
            .map(|number| {
                let sum = add(&number);
                (number, (sum, ScoreBand::of(sum).code().to_owned()))
            })
            .collect();
        assert!(parts.iter().flat_map(HashMap::keys).all(|number| added.contains_key(number)));
        assert_eq!(added, truth(&files));
    }
}

#[test]
fn no_part_is_a_default_and_none_stands_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (world, files) = written(dir.path(), 12);
    let parts = parts(&files);
    for (parts, (party, default)) in parts.iter().zip(SCORING_PARTIES) {
        assert!(parts.values().all(|part| *part != default), "{party} lists a default");
    }
    let held: HashSet<_> = parts[1..].iter().flat_map(HashMap::keys).collect();
    assert_eq!(
        held,
        parts[0].keys().collect(),
        "the authority overlaps whatever a carrier holds, and no more"
    );
    for (carrier, parts) in world.carriers.iter().zip(&parts[1..]) {
        let own: HashSet<_> = carrier.subscribers().map(|subscriber| subscriber.phone).collect();
        assert!(own.iter().all(|number| parts.contains_key(number)));
        assert!(parts.len() > own.len() * 5 / 4, "{} saw few numbers of others", carrier.party);
    }
}

#[test]
fn sums_grow_with_tags_and_hearsay_and_shorter_tenure() {
    let world = World::generate(&WorldConfig { subscribers_per_carrier: 6_000, ..WorldConfig::default() });
    let as_of = WorldConfig::default().as_of;
    let mut groups: BTreeMap<&str, Vec<u16>> = BTreeMap::new();
    for subscriber in world.carriers.iter().flat_map(|carrier| carrier.subscribers()) {
        let sum = world.joint_score(&subscriber).sum();
        let tags: Vec<_> = subscriber.tags.iter().map(|tag| tag.code()).collect();
        let group = match (tags.as_slice(), as_of.days_since(subscriber.activated)) {
            ([], 365..) => "clean",
            ([], ..30) => "fresh",
            (tags, _) if tags.contains(&"fraud_confirmed") => "fraud",
            (tags, _) if tags.contains(&"fraud_suspected") => "suspected",
            _ => continue,
        };
        groups.entry(group).or_default().push(sum);
    }
    let median = |group: &str| {
        let mut sums = groups[group].clone();
        sums.sort_unstable();
        sums[sums.len() / 2]
    };
    let medians = ["clean", "fresh", "suspected", "fraud"].map(median);
    assert!(medians.is_sorted(), "{medians:?}");
    assert!(medians[0] < ScoreBand::Medium.from() && medians[3] >= ScoreBand::High.from(), "{medians:?}");
    let clean = &groups["clean"];
    let heard = clean.iter().filter(|sum| ScoreBand::of(**sum) >= ScoreBand::High).count();
    assert!(clean.len() / 40 < heard && heard < clean.len() / 15, "{heard} of {}", clean.len());
}

#[test]
fn applicants_have_the_sum_of_their_number_and_a_colour_that_minds_it() {
    let dir = tempfile::tempdir().unwrap();
    let (world, files) = written(dir.path(), 12);
    let (truth, rows) = (truth(&files), rows(&files.applications, &SCORE_APPLICATIONS_HEADER));
    assert_eq!(rows.len(), world.applicants.len());
    let mut changed = HashSet::new();
    for (row, applicant) in rows.iter().zip(&world.applicants) {
        let (sum, band) = &truth[&applicant.truth.phone];
        assert_eq!([&applicant.application.number, &sum.to_string(), band], [&row[0], &row[1], &row[2]]);
        let colour = applicant.truth.colour;
        let worst = match (row[2].as_str(), colour) {
            ("very_high", _) | (_, Colour::Red) => "red",
            ("high", _) | (_, Colour::Yellow) => "yellow",
            _ => "green",
        };
        assert_eq!(row[3], worst);
        if colour.code() != worst {
            changed.insert((colour, worst, applicant.truth.class == Class::Right));
        }
    }
    let wanted =
        [(Colour::Green, "yellow", true), (Colour::Green, "red", true), (Colour::Yellow, "red", false)];
    assert_eq!(changed, HashSet::from(wanted), "the score changes colours");
    assert_eq!(colour_with_score(Colour::Red, ScoreBand::Low), Colour::Red);
}

#[test]
fn the_cards_shares_are_those_of_the_truth_and_add_up_to_one() {
    let dir = tempfile::tempdir().unwrap();
    let (_, files) = written(dir.path(), 5);
    let text = std::fs::read_to_string(&files.model).unwrap();
    let values = |key: &str| -> Vec<String> {
        text.lines().filter_map(|l| l.strip_prefix(key)?.strip_prefix(" = ")).map(str::to_owned).collect()
    };
    let names: Vec<_> = values("name")[1..].iter().map(|name| name.trim_matches('"').to_owned()).collect();
    assert_eq!(names, ScoreBand::ALL.map(ScoreBand::code));
    assert_eq!(values("from"), ScoreBand::ALL.map(|band| band.from().to_string()));
    let millionths = |text: &String| text.replacen('.', "", 1).parse::<u64>().unwrap();
    let shares: Vec<_> = values("share").iter().map(millionths).collect();
    assert!(values("share").iter().all(|share| share.len() == 8));
    assert_eq!(shares.iter().sum::<u64>(), 1_000_000);
    let truth = truth(&files);
    for (name, share) in names.iter().zip(shares) {
        let count = truth.values().filter(|(_, band)| band == name).count() as u64;
        assert!(count > 0 && share.abs_diff(count * 1_000_000 / truth.len() as u64) <= 3, "{name}");
    }
    let (sums, probabilities) = (values("sum"), values("probability"));
    assert!(sums.len() == probabilities.len() && probabilities.is_sorted());
}

#[test]
fn equal_configurations_give_equal_files() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let files = [one.path(), two.path()].map(|dir| written(dir, 4).1);
    let bytes = |files: &ScoringFiles| {
        let parts = files.parts.iter().map(|(_, path, _)| path);
        let all = parts.chain([&files.segments, &files.model, &files.truth, &files.applications]);
        all.map(|path| std::fs::read(path).unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(bytes(&files[0]), bytes(&files[1]));
}
