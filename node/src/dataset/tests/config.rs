//! Configuration and its mistakes.

use super::*;

#[test]
fn the_shipped_samples_parse_and_read_the_simulated_header() {
    let config = DataSetConfig::carrier();
    assert_eq!(config.name().as_str(), "subscribers");
    assert_eq!(config.families().iter().map(|f| f.code()).collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert_eq!((config.schema().label_bytes(), config.epoch_hours()), (14, 24));
    assert_eq!(config.quality(), &Quality::default());
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("d.toml"), CARRIER_DATASET).unwrap();
    fs::write(dir.path().join("carrier-schema.toml"), CARRIER_SCHEMA).unwrap();
    let loaded = DataSetConfig::load(&dir.path().join("d.toml")).unwrap();
    assert_eq!(loaded.schema(), config.schema());
    let columns: Vec<_> = config.recipe().fields.iter().map(|field| field.column.as_str()).collect();
    assert!(columns.iter().all(|column| CARRIER_HEADER.contains(column)));
}

#[test]
fn rules_and_schema_have_the_same_words() {
    let words = Vocabulary::carrier();
    let config = DataSetConfig::carrier();
    let (mut attributes, mut tags) = (Vec::new(), Vec::new());
    for field in config.schema().fields() {
        match field.kind {
            Kind::Code => {
                let codes = words.codes(&field.name).unwrap();
                assert!(codes.iter().eq(field.codes.iter().collect::<std::collections::BTreeSet<_>>()));
                attributes.push(field.name.as_str());
            }
            Kind::Set => tags.extend(field.codes.iter().cloned()),
            Kind::Date => assert_eq!(field.name, "valid_on"),
        }
    }
    attributes.sort_unstable();
    tags.sort_unstable();
    assert!(words.attributes().eq(attributes));
    assert!(words.tags().iter().eq(&tags));
}

#[test]
fn a_mistake_in_the_configuration_is_refused_with_its_field() {
    for (from, to, code, field) in [
        ("name = \"subscribers\"", "name = \"Subscribers\"", "CONFIG_FIELD", "name"),
        ("families = [1, 2, 3, 4]", "families = [1, 11]", "CONFIG_FIELD", "families"),
        ("families = [1, 2, 3, 4]", "families = [1, 1]", "CONFIG_FIELD", "families"),
        ("families = [1, 2, 3, 4]", "families = []", "CONFIG_FIELD", "families"),
        ("families = [1, 2, 3, 4]", "families = [1, 9]", "CONFIG_FIELD", "families"),
        ("phone = \"手机号\"\n", "", "CONFIG_FIELD", "families"),
        ("data_date = \"数据日期\"\n", "", "CONFIG_FIELD", "fields.tenure"),
        ("epoch_hours = 24", "epoch_hours = 0", "CONFIG_FIELD", "epoch_hours"),
        ("overlap_minutes = 60", "overlap_minutes = 10081", "CONFIG_FIELD", "overlap_minutes"),
        ("rejected_percent = 1.0", "rejected_percent = 101", "CONFIG_FIELD", "quality.rejected_percent"),
        ("rejected_percent = 1.0", "rejected_percent = nan", "CONFIG_FIELD", "quality.rejected_percent"),
        ("= \"active\"", "= \"actve\"", "CONFIG_FIELD", "fields.status"),
        ("= \"bulk_sms\"", "= \"bulk_mms\"", "CONFIG_FIELD", "fields.tags"),
        ("beyond = \"ge_3y\"", "beyond = \"ge_4y\"", "CONFIG_FIELD", "fields.tenure"),
        ("[[30, \"lt_30d\"], [90", "[[90, \"lt_30d\"], [90", "CONFIG_FIELD", "fields.tenure"),
        ("[fields.recycled]", "[fields.recycle]", "CONFIG_FIELD", "fields.recycled"),
        (
            "[fields.valid_on]\nkind = \"date\"",
            "[fields.valid_on]\nkind = \"set\"\nseparator = \"|\"\nwords = {}",
            "CONFIG_FIELD",
            "fields.valid_on",
        ),
        ("[columns]", "[column]", "CONFIG_SYNTAX", "column"),
        ("least = 1", "lest = 1", "CONFIG_SYNTAX", "lest"),
        ("\"passport\"", "\"visa\"", "CONFIG_SYNTAX", "visa"),
        ("encoding = \"auto\"", "encoding = \"utf8\"", "CONFIG_SYNTAX", "utf8"),
    ] {
        assert!(CARRIER_DATASET.contains(from), "{from}");
        let text = CARRIER_DATASET.replacen(from, to, 1);
        let error = DataSetConfig::parse(&text, CARRIER_SCHEMA).unwrap_err();
        assert_eq!(error.code(), code, "{to}: {error}");
        assert!(error.to_string().contains(field), "{to}: {error}");
    }
    let schema = CARRIER_SCHEMA.replacen("bits = 3", "bits = 1", 1);
    assert_eq!(DataSetConfig::parse(CARRIER_DATASET, &schema).unwrap_err().code(), "SCHEMA_INVALID");
    let error = DataSetConfig::load(Path::new("/nonexistent/d.toml")).unwrap_err();
    assert_eq!(error.code(), "FILE_IO");
}

#[test]
fn documents_without_a_type_have_the_type_of_the_empty_word() {
    let text =
        CARRIER_DATASET.replacen("document_type = \"证件类型\"\n", "", 1).replacen("\"护照\"", "\"\"", 1);
    let mut bench = Bench::new();
    bench.config = DataSetConfig::parse(&text, CARRIER_SCHEMA).unwrap();
    bench.import_bytes(file(&[with(&[(3, "E12345678")])]).as_bytes()).unwrap();
    let reader = StagingReader::open(bench.data(), bench.config.name(), 14, &bench.storage).unwrap();
    let record = reader.into_iter().next().unwrap().unwrap();
    assert_eq!(record.person.document.unwrap().kind(), DocumentKind::Passport);
}
