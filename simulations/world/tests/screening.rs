//! The screening's files, read back as a stranger would.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests, which clippy does not see here")]

use std::collections::HashMap;
use std::path::Path;

use windvane_world::{CUSTOMERS_HEADER, RISK_LIST_HEADER, ScreeningFiles, World, WorldConfig};

const CUSTOMERS: u64 = 6_000;
const NEW: u64 = 500;

fn written(dir: &Path) -> (World, ScreeningFiles) {
    let config = WorldConfig { subscribers_per_carrier: 3_000, ..WorldConfig::default() };
    let world = World::generate(&config);
    let files = world.write_screening(CUSTOMERS, NEW, dir).unwrap();
    (world, files)
}

fn rows(path: &Path, header: &[&str]) -> Vec<Vec<String>> {
    let mut reader = csv::Reader::from_path(path).unwrap();
    assert!(header.is_empty() || reader.headers().unwrap() == header);
    reader.records().map(|row| row.unwrap().iter().map(str::to_owned).collect()).collect()
}

fn phone(text: &str) -> String {
    let fold = |c| if ('０'..='９').contains(&c) { char::from_u32(c as u32 - 0xFEE0).unwrap() } else { c };
    let digits: String = text.chars().map(fold).filter(char::is_ascii_digit).collect();
    digits[digits.len() - 11..].to_owned()
}

/// Number to tags, from a risk list.
fn listed(path: &Path) -> HashMap<String, String> {
    let rows = rows(path, &RISK_LIST_HEADER);
    let count = rows.len();
    let listed: HashMap<_, _> = rows.into_iter().map(|row| (phone(&row[0]), row[1].clone())).collect();
    assert_eq!(listed.len(), count, "a number stands on a list once");
    listed
}

/// Customer, outlet and carrier of everybody whose number is on one of the lists, from the files alone.
fn found(customers: &[Vec<String>], lists: &[(String, HashMap<String, String>)]) -> Vec<[String; 4]> {
    let hit = |customer: &Vec<String>| {
        let number = phone(&customer[2]);
        let (party, tags) = lists.iter().find_map(|(party, list)| Some((party, list.get(&number)?)))?;
        Some([customer[0].clone(), customer[1].clone(), party.clone(), tags.matches('|').count().to_string()])
    };
    customers.iter().filter_map(hit).collect()
}

fn truth(path: &Path) -> Vec<[String; 4]> {
    let row =
        |r: Vec<String>| [r[0].clone(), r[1].clone(), r[2].clone(), r[3].matches('|').count().to_string()];
    rows(path, &[]).into_iter().map(row).collect()
}

#[test]
fn joining_the_files_gives_the_truth_on_both_days() {
    let dir = tempfile::tempdir().unwrap();
    let (_, files) = written(dir.path());
    let mut customers = rows(&files.customers, &CUSTOMERS_HEADER);
    let before: Vec<_> = files.lists.iter().map(|(p, list, ..)| (p.clone(), listed(list))).collect();
    let hits = found(&customers, &before);
    assert!(hits.len() > 100 && hits.len() < customers.len() / 2, "{} hits", hits.len());
    assert_eq!(hits, truth(&files.truth));

    customers.extend(rows(&files.new_customers, &CUSTOMERS_HEADER));
    assert_eq!(customers.len() as u64, CUSTOMERS);
    let after: Vec<_> = files.lists.iter().map(|(p, .., after)| (p.clone(), listed(after))).collect();
    assert_eq!(found(&customers, &after), truth(&files.truth_after));
}

#[test]
fn a_list_and_its_changes_give_the_list_after_them() {
    let dir = tempfile::tempdir().unwrap();
    let (_, files) = written(dir.path());
    for (_, list, changes, after) in &files.lists {
        let mut list = listed(list);
        let changes = listed(changes);
        let left = |(_, tags): &(&String, &String)| tags.is_empty();
        assert!(changes.iter().any(|c| left(&c)) && !changes.iter().all(|c| left(&c)));
        for (number, tags) in changes {
            if tags.is_empty() {
                list.remove(&number)
            } else {
                list.insert(number, tags)
            };
        }
        assert_eq!(list, listed(after));
    }
}

#[test]
fn equal_configurations_give_equal_files() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    written(one.path());
    written(two.path());
    for entry in std::fs::read_dir(one.path()).unwrap() {
        let name = entry.unwrap().file_name();
        let bytes = |dir: &Path| std::fs::read(dir.join(&name)).unwrap();
        assert_eq!(bytes(one.path()), bytes(two.path()), "{name:?}");
    }
}
