//! Every simulated subscriber of all three carriers is found again with the right label.

use super::*;

const ROWS: usize = 400;

fn world() -> (TempDir, World, windvane_world::WorldFiles) {
    let config =
        WorldConfig { subscribers_per_carrier: ROWS, applicants: 0, bad_rows: 12, ..WorldConfig::default() };
    let (dir, world) = (tempfile::tempdir().unwrap(), World::generate(&config));
    let files = world.write(dir.path()).unwrap();
    (dir, world, files)
}

fn identity(subscriber: &Subscriber) -> Person {
    let kind = match subscriber.document.kind {
        windvane_world::DocumentKind::Passport => DocumentKind::Passport,
        _ => DocumentKind::ResidentId,
    };
    Person {
        phone: Some(Phone::parse(&subscriber.phone).unwrap()),
        document: Some(Document::parse(kind, &subscriber.document.number).unwrap()),
        name: Some(Name::parse(&subscriber.name).unwrap()),
        other: None,
    }
}

/// The label by the schema's words, stated a second time.
fn expected(subscriber: &Subscriber) -> Decoded {
    let as_of = WorldConfig::default().as_of;
    let status = match subscriber.status {
        Status::Active => "active",
        Status::Suspended => "suspended",
        Status::Closed => "closed",
    };
    let tenure = match as_of.days_since(subscriber.activated) {
        ..30 => "lt_30d",
        30..90 => "d30_90",
        90..180 => "d90_180",
        180..365 => "d180_365",
        365..1_095 => "y1_3",
        _ => "ge_3y",
    };
    let sim_swap = match subscriber.sim_changed.map(|day| as_of.days_since(day)) {
        None => "never",
        Some(..=1) => "le_1d",
        Some(..=3) => "le_3d",
        Some(..=7) => "le_7d",
        Some(..=30) => "le_30d",
        Some(..=90) => "le_90d",
        Some(_) => "gt_90d",
    };
    let numbers = match subscriber.numbers_under_id {
        1 => "1",
        2 => "2",
        3 | 4 => "3_4",
        5..=9 => "5_9",
        _ => "ge_10",
    };
    let recycled = if subscriber.recycled { "yes" } else { "no" };
    let attributes = [
        ("status", status),
        ("tenure", tenure),
        ("sim_swap", sim_swap),
        ("recycled", recycled),
        ("numbers_under_id", numbers),
    ];
    let owned = |(name, code): (&str, &str)| (name.to_owned(), code.to_owned());
    Decoded {
        attributes: attributes.into_iter().map(owned).collect(),
        tags: subscriber.tags.iter().map(|tag| tag.code().to_owned()).collect(),
        dates: BTreeMap::from([("valid_on".to_owned(), 9_801)]),
    }
}

#[test]
fn every_subscriber_of_every_carrier_is_found_with_the_right_label() {
    let (_dir, world, files) = world();
    for (carrier, (_, path)) in world.carriers.iter().zip(&files.carriers) {
        let mut bench = Bench::tolerant();
        let report = bench.import_file(path).unwrap();
        assert_eq!((report.rows, report.accepted, report.rejected), (ROWS as u64 + 4, ROWS as u64, 4));
        assert_eq!((report.duplicate, report.inconsistent, report.missing), (0, 0, 0));
        assert_eq!(
            (report.oldest.as_deref(), report.newest.as_deref()),
            (Some("2026-11-01"), Some("2026-11-01"))
        );
        let built = bench.build(1).unwrap();
        assert_eq!((built.rows, built.collapsed, built.rejected), (4 * ROWS as u64, 0, 0));
        bench.publish(1).unwrap();
        let (table, schema) = (bench.open(1), bench.config.schema());
        for subscriber in carrier.subscribers() {
            let person = identity(&subscriber);
            let label = bench.look_up(&table, Family::Phone, &person).expect("the subscriber has a row");
            assert_eq!(schema.decode(&schema.unpack(&label).unwrap()), expected(&subscriber));
            for family in [Family::PhoneId, Family::PhoneName, Family::PhoneIdName] {
                assert!(bench.look_up(&table, family, &person).is_some(), "{family:?}");
            }
        }
    }
}

#[test]
fn somebody_elses_name_or_number_is_not_found() {
    let (_dir, world, files) = world();
    let mut bench = Bench::tolerant();
    bench.import_file(&files.carriers[0].1).unwrap();
    bench.build(1).unwrap();
    bench.publish(1).unwrap();
    let table = bench.open(1);
    let rows: Vec<_> = world.carriers[0].subscribers().take(50).collect();
    for pair in rows.windows(2).filter(|pair| pair[0].holder != pair[1].holder) {
        let (own, other) = (identity(&pair[0]), identity(&pair[1]));
        let mixed = Person { document: other.document, ..own };
        assert_eq!(bench.look_up(&table, Family::PhoneId, &mixed), None);
        let stranger = identity(&world.carriers[1].subscriber(u64::from(pair[0].row as u32)).unwrap());
        assert_eq!(bench.look_up(&table, Family::Phone, &stranger), None);
    }
}
