//! The files, read back as a stranger would: with their own decoding, canonical forms and colours.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "helpers of tests are tests, which clippy does not see here"
)]

use encoding_rs::{GB18030, UTF_8};
use std::collections::{HashMap, HashSet};
use std::path::Path;
use windvane_world::{
    CARRIER_HEADER, Class, Colour, Date, ExpectedResult, Tag, Truth, World, WorldConfig, write_carrier_stream,
};

type Row = HashMap<String, String>;

fn small() -> WorldConfig {
    WorldConfig { subscribers_per_carrier: 3_000, ..WorldConfig::default() }
}

fn decode(bytes: &[u8], gb18030: bool) -> String {
    let (text, _, malformed) = if gb18030 { GB18030.decode(bytes) } else { UTF_8.decode(bytes) };
    assert!(!malformed, "the file does not decode");
    text.into_owned()
}

fn read(path: &Path, gb18030: bool) -> Vec<Row> {
    let text = decode(&std::fs::read(path).unwrap(), gb18030);
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let header: Vec<String> = reader.headers().unwrap().iter().map(str::to_owned).collect();
    let row =
        |record: csv::StringRecord| header.iter().cloned().zip(record.iter().map(str::to_owned)).collect();
    reader.records().map(|record| row(record.unwrap())).collect()
}

fn fold_digits(text: &str) -> String {
    text.chars()
        .map(|c| if ('０'..='９').contains(&c) { char::from_u32(c as u32 - 0xFEE0).unwrap() } else { c })
        .collect()
}

fn phone(text: &str) -> String {
    let digits: String = fold_digits(text).chars().filter(|c| !matches!(c, ' ' | '-')).collect();
    let prefix = ["+86", "0086", "86"].into_iter().find_map(|prefix| digits.strip_prefix(prefix));
    prefix.unwrap_or(&digits).to_owned()
}

fn name(text: &str) -> String {
    let dotted: String = text.chars().map(|c| if "•‧・．･".contains(c) { '·' } else { c }).collect();
    let words: Vec<&str> = dotted.split_whitespace().collect();
    let latin = dotted.trim().starts_with(|c: char| c.is_ascii_alphabetic());
    if latin { words.join(" ").to_lowercase() } else { words.concat() }
}

fn check_character(digits: &str) -> char {
    const WEIGHTS: [u32; 17] = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2];
    let sum: u32 =
        digits.chars().zip(WEIGHTS).map(|(digit, weight)| digit.to_digit(10).unwrap() * weight).sum();
    "10X98765432".chars().nth((sum % 11) as usize).unwrap()
}

fn document(kind: &str, text: &str) -> String {
    let number = fold_digits(text).to_uppercase();
    if kind == "护照" {
        assert!(number.len() == 9 && number[1..].bytes().all(|byte| byte.is_ascii_digit()));
        return number;
    }
    assert_eq!(kind, "居民身份证");
    let full = match number.len() {
        15 => format!("{}19{}", &number[..6], &number[6..]),
        _ => number[..17].to_owned(),
    };
    let full = format!("{full}{}", check_character(&full));
    assert!(number.len() == 15 || number == full, "a check character is wrong");
    assert!(Date::parse(&format!("{}-{}-{}", &full[6..10], &full[10..12], &full[12..14])).is_some());
    full
}

fn written(config: &WorldConfig) -> (World, Files) {
    eprintln!("seed {}", config.seed);
    let dir = tempfile::tempdir().unwrap();
    let world = World::generate(config);
    let files = world.write(dir.path()).unwrap();
    let carriers =
        files.carriers.iter().map(|(party, path)| (party.clone(), read(path, party == "carrier-b")));
    let carriers = carriers.collect();
    let (applications, truth) = (read(&files.applications, false), read(&files.truth, false));
    let bad_rows = read(&files.bad_rows, false);
    (world, Files { carriers, applications, truth, bad_rows })
}

struct Files {
    carriers: Vec<(String, Vec<Row>)>,
    applications: Vec<Row>,
    truth: Vec<Row>,
    bad_rows: Vec<Row>,
}

impl Files {
    fn standing(&self) -> HashMap<String, (&str, &Row)> {
        let mut standing = HashMap::new();
        for (party, rows) in &self.carriers {
            for row in rows {
                let number = phone(&row["手机号"]);
                assert_eq!(number.len(), 11);
                assert!(standing.insert(number, (party.as_str(), row)).is_none(), "a number stands twice");
            }
        }
        standing
    }
}

fn days_before(as_of: &str, day: &str) -> i64 {
    Date::parse(as_of).unwrap().days_since(Date::parse(day).unwrap())
}

/// The default policy once more, from the text of a row.
fn colour(row: &Row, fits: bool) -> &'static str {
    let tags: Vec<&str> = row["风险标签"].split('|').filter(|tag| !tag.is_empty()).collect();
    let tenure = days_before(&row["数据日期"], &row["入网日期"]);
    let swap = Some(&row["换卡日期"]).filter(|day| !day.is_empty());
    if !fits || row["用户状态"] == "销户" || tags.iter().any(|tag| ["涉诈确认", "跑分"].contains(tag))
    {
        return "red";
    }
    let caution = [
        !tags.is_empty(),
        swap.is_some_and(|day| days_before(&row["数据日期"], day) <= 7),
        tenure < 30,
        row["同证号码数"].parse::<u32>().unwrap() >= 5,
        row["用户状态"] == "停机",
        row["二次放号"] == "是" && tenure < 90,
    ];
    if caution.contains(&true) { "yellow" } else { "green" }
}

fn tag_codes(row: &Row) -> String {
    let labels = row["风险标签"].split('|').filter(|label| !label.is_empty());
    let codes = labels.map(|label| Tag::ALL.into_iter().find(|tag| tag.label() == label).unwrap().code());
    codes.collect::<Vec<_>>().join("|")
}

#[test]
fn truth_is_what_the_delivered_files_say() {
    for seed in [1, 2, 3] {
        let (_, files) = written(&WorldConfig { seed, ..small() });
        let standing = files.standing();
        assert_eq!(files.truth.len(), files.applications.len());
        for (application, truth) in files.applications.iter().zip(&files.truth) {
            assert_eq!(application["申请号"], truth["申请号"]);
            assert_eq!(application["客户类型"], "个人");
            let applied = document(&application["证件类型"], &application["证件号码"]);
            let Some((party, row)) = standing.get(&phone(&application["手机号"])) else {
                assert_eq!((&*truth["result"], &*truth["colour"]), ("no_record", "yellow"));
                assert_eq!((&*truth["carrier"], &*truth["tags"]), ("", ""));
                continue;
            };
            let name_fits = name(&application["客户名称"]) == name(&row["姓名"]);
            let id_fits = applied == document(&row["证件类型"], &row["证件号码"]);
            let (result, mismatch) = match (name_fits, id_fits) {
                (true, true) => ("match", ""),
                (false, true) => ("mismatch", "name"),
                (true, false) => ("mismatch", "id"),
                (false, false) => ("mismatch", "name+id"),
            };
            assert_eq!((&*truth["result"], &*truth["mismatch"]), (result, mismatch));
            assert_eq!(&truth["carrier"], party);
            assert_eq!(truth["tags"], tag_codes(row));
            assert_eq!(truth["colour"], colour(row, name_fits && id_fits), "{row:?}");
        }
    }
}

#[test]
fn every_row_is_legal_and_its_numbers_under_an_id_are_counted_over_all_carriers() {
    let (world, files) = written(&small());
    let mut held: HashMap<String, u32> = HashMap::new();
    let rows = || files.carriers.iter().flat_map(|(_, rows)| rows);
    for row in rows() {
        *held.entry(document(&row["证件类型"], &row["证件号码"])).or_default() += 1;
    }
    for row in rows() {
        let id = document(&row["证件类型"], &row["证件号码"]);
        assert_eq!(row["同证号码数"], held[&id].to_string());
        assert!(days_before("2026-11-01", &row["入网日期"]) >= 0);
        assert!(row["换卡日期"].is_empty() || row["换卡日期"] >= row["入网日期"]);
        assert!(row["换卡日期"].is_empty() || days_before("2026-11-01", &row["换卡日期"]) >= 0);
        assert!(["正常", "停机", "销户"].contains(&row["用户状态"].as_str()));
        assert_eq!(row["数据日期"], "2026-11-01");
    }
    assert_eq!(world.people.holders().count(), held.len());
}

#[test]
fn rows_made_one_by_one_are_those_of_the_files() {
    let (world, files) = written(&small());
    for (carrier, (party, rows)) in world.carriers.iter().zip(&files.carriers) {
        assert_eq!((&carrier.party, carrier.subscriber_count()), (party, 3_000));
        assert_eq!(carrier.subscribers().count(), rows.len());
        for nth in [0, 31, 255, 256, 2_999] {
            let subscriber = carrier.subscriber(nth).unwrap();
            let row = &rows[nth as usize];
            assert_eq!(subscriber.phone, phone(&row["手机号"]));
            assert_eq!(subscriber.document.number, document(&row["证件类型"], &row["证件号码"]));
            assert_eq!(name(&subscriber.name), name(&row["姓名"]));
            assert_eq!(world.people.person(subscriber.holder).name, subscriber.name);
        }
        assert_eq!(carrier.subscriber(3_000), None);
    }
}

#[test]
fn each_class_has_its_minimum_spread_over_carriers_ported_numbers_and_passports() {
    for (seed, subscribers_per_carrier, applicants) in [(1, 20_000, 400), (2, 2_000, 340), (3, 1_000, 400)] {
        let config = WorldConfig { seed, subscribers_per_carrier, applicants, ..WorldConfig::default() };
        let world = World::generate(&config);
        assert_eq!(world.applicants.len(), applicants);
        for class in Class::BASIC.into_iter().chain(Class::RISKY) {
            let of_class: Vec<_> = world.applicants.iter().filter(|a| a.truth.class == class).collect();
            assert!(of_class.len() >= 20, "{class:?}");
            let carriers: HashSet<_> = of_class.iter().map(|a| &a.truth.carrier).collect();
            assert_eq!(carriers.len(), if class == Class::Unknown { 1 } else { 3 }, "{class:?}");
        }
        let count = |wanted: &dyn Fn(&windvane_world::Applicant) -> bool| {
            world.applicants.iter().filter(|applicant| wanted(applicant)).count()
        };
        assert!(count(&|a| a.truth.ported) >= 8);
        assert!(count(&|a| a.application.document_kind.label() == "护照") >= 8);
        for colour in [Colour::Red, Colour::Yellow, Colour::Green] {
            assert!(count(&|a| a.truth.colour == colour) >= 20);
        }
    }
}

#[test]
fn two_hundred_applicants_hold_twenty_of_each_basic_class_and_a_hundred_risky_ones() {
    let world = World::generate(&WorldConfig { applicants: 200, ..small() });
    let mut counts: HashMap<Class, usize> = HashMap::new();
    world.applicants.iter().for_each(|a| *counts.entry(a.truth.class).or_default() += 1);
    assert!(Class::BASIC.iter().all(|class| counts[class] == 20));
    assert!(Class::RISKY.iter().all(|class| counts[class] >= 8));
}

#[test]
fn former_holders_and_ring_fellows_apply_with_numbers_that_are_not_theirs() {
    let world = World::generate(&small());
    let wrong = world.applicants.iter().filter(|a| a.truth.class == Class::WrongBoth);
    let (mut former, mut fellows, mut strangers) = (0, 0, 0);
    for Truth { carrier, row, person, result, .. } in wrong.map(|a| a.truth.clone()) {
        let index = world.carriers.iter().position(|c| Some(&c.party) == carrier.as_ref()).unwrap();
        let number = world.carriers[index].subscriber(row.unwrap()).unwrap();
        assert_eq!(result, ExpectedResult::Mismatch { name: true, id: true });
        assert_ne!(person, Some(number.holder));
        match person {
            person if person == number.former_holder => former += 1,
            person if person == number.ring_fellow => fellows += 1,
            _ => strangers += 1,
        }
    }
    assert!(former >= 5 && fellows >= 1 && strangers >= 3, "{former} {fellows} {strangers}");
}

#[test]
fn ported_numbers_stand_at_the_new_carrier_only() {
    let (world, files) = written(&small());
    let standing = files.standing();
    let segment_owner = |number: &str| {
        let segment: u32 = number[..7].parse().unwrap();
        world.carriers.iter().find(|carrier| carrier.segments.contains(&segment)).unwrap().party.clone()
    };
    for carrier in &world.carriers {
        let (ported, own): (Vec<_>, Vec<_>) = carrier.subscribers().partition(|row| row.ported);
        assert!(ported.len() >= 90 && ported.len() < 150);
        assert!(own.iter().all(|row| segment_owner(&row.phone) == carrier.party));
        for row in &ported {
            assert_ne!(segment_owner(&row.phone), carrier.party);
            assert_eq!(standing[&row.phone].0, carrier.party);
        }
    }
    assert_eq!(world.carriers.iter().map(|carrier| carrier.segments.len()).sum::<usize>(), 12);
}

#[test]
fn unknown_numbers_stand_nowhere_though_their_segments_are_known() {
    let (world, files) = written(&WorldConfig { applicants: 2_000, ..small() });
    let standing = files.standing();
    let segments: HashSet<u32> = world.carriers.iter().flat_map(|carrier| carrier.segments.clone()).collect();
    let unknown: Vec<_> = world.applicants.iter().filter(|a| a.truth.class == Class::Unknown).collect();
    assert!(unknown.len() >= 20);
    for applicant in unknown {
        assert!(!standing.contains_key(&applicant.truth.phone));
        assert!(segments.contains(&applicant.truth.phone[..7].parse().unwrap()));
    }
}

#[test]
fn every_limit_of_the_policy_is_met_exactly_and_missed_by_one() {
    let world = World::generate(&small());
    let as_of = small().as_of;
    let rows: Vec<_> = world.carriers.iter().flat_map(|carrier| carrier.subscribers()).collect();
    let any = |wanted: &dyn Fn(&windvane_world::Subscriber) -> bool| rows.iter().any(wanted);
    for days in [7, 8] {
        assert!(any(&|row| row.sim_changed.is_some_and(|changed| as_of.days_since(changed) == days)));
    }
    for days in [29, 30] {
        assert!(any(&|row| !row.recycled && as_of.days_since(row.activated) == days));
    }
    for days in [89, 90] {
        assert!(any(&|row| row.recycled && as_of.days_since(row.activated) == days));
    }
    for numbers in [4, 5] {
        assert!(any(&|row| row.numbers_under_id == numbers && row.tags.is_empty()));
    }
}

fn bytes(config: &WorldConfig) -> Vec<Vec<u8>> {
    let dir = tempfile::tempdir().unwrap();
    let files = World::generate(config).write(dir.path()).unwrap();
    let carriers = files.carriers.into_iter().map(|(_, path)| path);
    let paths = carriers.chain([files.applications, files.truth]);
    paths.map(|path| std::fs::read(path).unwrap()).collect()
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_seed_others() {
    let first = bytes(&small());
    assert!(first == bytes(&small()));
    let other = bytes(&WorldConfig { seed: 2, ..small() });
    assert!(first.iter().zip(&other).all(|(first, other)| first != other));
}

#[test]
fn a_stream_of_one_carrier_gives_the_bytes_of_the_world() {
    let config = WorldConfig { subscribers_per_carrier: 1_000, bad_rows: 10, ..WorldConfig::default() };
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("carrier.csv");
    for (carrier, expected) in bytes(&config).into_iter().take(3).enumerate() {
        write_carrier_stream(&config, carrier, 1_000, &path).unwrap();
        assert!(std::fs::read(&path).unwrap() == expected);
    }
}

#[test]
fn files_begin_and_decode_as_each_carrier_writes_them() {
    let [a, b, c]: [Vec<u8>; 3] = bytes(&small())[..3].to_vec().try_into().unwrap();
    assert!(!a.starts_with(b"\xEF\xBB\xBF"));
    assert!(c.starts_with(b"\xEF\xBB\xBF"));
    assert!(UTF_8.decode_without_bom_handling(&b).1, "GB 18030 is not UTF-8 by chance");
    for (bytes, gb18030) in [(a, false), (b, true), (c, false)] {
        assert_eq!(decode(&bytes, gb18030).lines().next(), Some(CARRIER_HEADER.join(",").as_str()));
    }
}

#[test]
fn bad_rows_come_in_the_promised_number_and_break_one_rule_each() {
    let (world, files) = written(&WorldConfig { bad_rows: 26, ..small() });
    let mut found: HashMap<(String, String), usize> = HashMap::new();
    for (party, rows) in &files.carriers {
        for reason in rows.iter().filter_map(fault) {
            *found.entry((party.clone(), reason.to_owned())).or_default() += 1;
        }
    }
    let told = files
        .bad_rows
        .iter()
        .map(|row| ((row["carrier"].clone(), row["reason"].clone()), row["rows"].parse::<usize>().unwrap()));
    assert_eq!(told.collect::<HashMap<_, _>>(), found);
    assert_eq!(world.bad_rows.iter().map(|row| row.rows).sum::<u64>(), 26);
    assert_eq!(files.carriers.iter().map(|(_, rows)| rows.len()).sum::<usize>(), 9_026);
    let numbers: HashSet<String> =
        files.carriers.iter().flat_map(|(_, rows)| rows).map(|row| phone(&row["手机号"])).collect();
    assert_eq!(numbers.len(), 9_026);
}

fn fault(row: &Row) -> Option<&'static str> {
    let id = fold_digits(&row["证件号码"]).to_uppercase();
    let resident = row["证件类型"] == "居民身份证" && id.len() == 18;
    let faults = [
        ("check_character", resident && check_character(&id[..17]) != id.chars().last().unwrap()),
        ("phone_length", phone(&row["手机号"]).len() != 11),
        ("impossible_date", Date::parse(&row["入网日期"]).is_none()),
        ("unknown_status", !["正常", "停机", "销户"].contains(&row["用户状态"].as_str())),
    ];
    let broken: Vec<_> = faults.into_iter().filter(|(_, broken)| *broken).map(|(reason, _)| reason).collect();
    assert!(broken.len() <= 1, "{broken:?}");
    broken.first().copied()
}

#[test]
fn worlds_of_any_size_can_be_made() {
    for (subscribers_per_carrier, applicants, segments) in
        [(0, 3, 12), (1, 50, 3), (40, 400, 0), (257, 0, 99)]
    {
        let config = WorldConfig { subscribers_per_carrier, applicants, segments, ..WorldConfig::default() };
        let (world, files) = written(&config);
        assert_eq!(world.applicants.len(), applicants);
        assert_eq!(files.standing().len(), 3 * subscribers_per_carrier);
        let numbers: HashSet<&String> = files.applications.iter().map(|row| &row["申请号"]).collect();
        assert_eq!(numbers.len(), applicants);
    }
}
