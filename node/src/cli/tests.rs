//! Whole command lines, in this process.

use clap::CommandFactory as _;

use super::*;

mod life;

struct Outcome {
    code: String,
    out: String,
    err: String,
}

fn windvane(arguments: &[&str]) -> Outcome {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let line = std::iter::once("windvane").chain(arguments.iter().copied());
    let code = run(line, &mut Terminal::new(&mut out, &mut err));
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Outcome { code: format!("{code:?}"), out: text(out), err: text(err) }
}

fn good(arguments: &[&str]) -> String {
    let outcome = windvane(arguments);
    assert_eq!(outcome.code, format!("{:?}", ExitCode::SUCCESS), "{arguments:?}: {}", outcome.err);
    outcome.out
}

fn bad(arguments: &[&str]) -> String {
    let outcome = windvane(arguments);
    assert_eq!(outcome.code, format!("{:?}", ExitCode::FAILURE), "{arguments:?}: {}", outcome.err);
    outcome.err + &outcome.out
}

fn usage(arguments: &[&str]) -> String {
    let outcome = windvane(arguments);
    assert_eq!(outcome.code, format!("{:?}", ExitCode::from(USAGE)), "{arguments:?}: {}", outcome.err);
    assert_eq!(outcome.out, "");
    outcome.err
}

/// A folder with a shipped sample as `windvane.toml`.
fn node_of(sample: &str) -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().unwrap();
    let (_, text) = windvane::config::SAMPLES.into_iter().find(|(name, _)| *name == sample).unwrap();
    let path = dir.path().join("windvane.toml");
    std::fs::write(&path, text).unwrap();
    (dir, path.to_str().unwrap().to_owned())
}

#[test]
fn the_grammar_holds_together_and_every_option_has_a_help_text() {
    fn check(command: &clap::Command) {
        for argument in command.get_arguments().filter(|a| !a.is_hide_set()) {
            assert!(argument.get_help().is_some(), "{} {}", command.get_name(), argument.get_id());
        }
        command.get_subcommands().for_each(check);
    }
    Cli::command().debug_assert();
    check(&Cli::command());
}

#[test]
fn help_is_a_good_end_and_a_line_that_does_not_parse_is_two() {
    assert!(good(&["--help"]).contains("check-config"));
    assert!(good(&["grant", "issue", "--help"]).contains("--per-day"));
    assert!(usage(&[]).contains("Usage"));
    assert!(usage(&["grnt"]).contains("grant"));
    assert!(usage(&["node", "--confg", "x"]).contains("--config"));
}

#[test]
fn the_score_is_stopped_by_a_flag_that_says_so_and_takes_no_value() {
    let line = |flags: &[&'static str]| [&["score", "fallback", "--group", "g", "--by", "b"], flags].concat();
    assert!(usage(&line(&[])).contains("--rules-only"));
    assert!(usage(&line(&["--rules-only=false"])).contains("--rules-only"));
    assert!(!bad(&line(&["--rules-only", "--config", "absent.toml"])).contains("--rules-only"));
}

#[test]
fn a_line_about_a_customer_that_does_not_parse_is_not_repeated() {
    let (name, id, phone) = ("欧阳澄观", "11010519530417281X", "13800138017");
    for line in [
        vec!["verify", name, "--phone", phone],
        vec!["verify", "--phone", phone, phone],
        vec!["verify", "--phon", phone],
        vec!["verify", "--nam=欧阳澄观", "--phone", phone],
        vec!["verify", "--13800138017"],
        vec!["verify", "--phone", phone, "--document-type", id],
        vec!["verify", "--phone", phone, "--phone", phone],
        vec!["verify", "--phone", phone, "--name", name, "--id", id],
        vec!["verify", "--json=13800138017"],
    ] {
        let said = usage(&line);
        assert!(said.contains("error:"), "{said}");
        assert!([name, id, phone].iter().all(|text| !said.contains(text)), "{said}");
    }
    assert!(usage(&["verify", "--phone", phone, "--document-type", id]).contains("--document-type"));
}

#[test]
fn the_terms_of_a_grant_are_checked_before_anything_is_opened() {
    let issue = |option: &str, value: &str| {
        let mut line = vec!["grant", "issue", "--config", "/nowhere"];
        let terms = [
            ("--to", "bank"),
            ("--data-set", "subscribers"),
            ("--families", "1,2,3,4"),
            ("--purposes", "account_opening"),
            ("--per-day", "10"),
            ("--total", "20"),
            ("--days", "30"),
        ];
        for (name, sound) in terms {
            line.extend([name, if name == option { value } else { sound }]);
        }
        windvane(&line)
    };
    assert!(issue("", "").err.starts_with("error CONFIG_UNREADABLE: /nowhere: "));
    for (option, value) in [
        ("--families", "1,,2"),
        ("--families", "0"),
        ("--families", "phone"),
        ("--families", "300"),
        ("--to", "Bank"),
        ("--data-set", "S"),
        ("--per-day", "0"),
        ("--total", "-1"),
        ("--days", "3651"),
    ] {
        let outcome = issue(option, value);
        assert_eq!(outcome.code, format!("{:?}", ExitCode::from(USAGE)), "{option} {value}");
        assert!(outcome.err.contains(option), "{}", outcome.err);
    }
}

#[test]
fn openapi_prints_the_document_as_json() {
    let document: serde_json::Value = serde_json::from_str(&good(&["openapi"])).unwrap();
    assert_eq!(document["openapi"], "3.1.0");
}

#[test]
fn a_missing_token_and_a_missing_configuration_say_what_to_do() {
    let (_dir, config) = node_of("bank.toml");
    let verify = ["verify", "--phone", "1", "--purpose", "p", "--ticket", "t", "--consent", "c"];
    let line = [&verify[..], &["--operator", "o", "--config", &config, "--token-file", "/nowhere"]].concat();
    assert!(bad(&line).contains("/nowhere"));
    let listed = bad(&["grant", "list", "--config", "/nowhere"]);
    assert!(listed.contains("--config or WINDVANE_CONFIG"), "{listed}");
}

#[test]
fn a_node_is_keyed_enrolled_and_checked_from_the_command_line() {
    let (dir, config) = node_of("carrier.toml");
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (request, enrolment, ca) = (path("request"), path("enrolment"), path("ca"));
    assert!(bad(&["check-config", &config]).contains("passphrase"));
    assert!(good(&["keys", "init", "--config", &config]).contains("partner request"));
    assert!(bad(&["keys", "init", "--config", &config]).starts_with("error ALREADY_EXISTS: "));
    assert!(bad(&["check-config", &config]).contains("NOT_ENROLLED"));
    assert!(bad(&["doctor", "--config", &config]).starts_with("problem NOT_ENROLLED: "));
    good(&["keys", "ca", "init", "--dir", &ca, "--name", "Trial"]);
    good(&["partner", "request", "--config", &config, "--out", &request]);
    good(&["partner", "sign", "--ca", &ca, &request, "--out", &enrolment]);
    assert!(good(&["partner", "import", "--config", &config, &enrolment]).contains("this node"));
    let checked = good(&["check-config", &config]);
    assert!(checked.contains("note DATASET_MISSING") && checked.contains("\nOK"), "{checked}");
    let examined: serde_json::Value =
        serde_json::from_str(&good(&["doctor", "--config", &config, "--json"])).unwrap();
    assert_eq!(examined["problems"], 0, "{examined}");
    assert_eq!(examined["findings"][0]["severity"], "warning", "{examined}");
    let keys: serde_json::Value =
        serde_json::from_str(&good(&["keys", "list", "--config", &config, "--json"])).unwrap();
    assert_eq!(keys.as_array().unwrap().len(), 6);
    let verifier = good(&["keys", "log-verifier", "--config", &config]);
    assert!(verifier.contains("carrier-a"), "{verifier}");
    let end = bad(&["grant", "end", "--config", &config, "00"]);
    assert!(end.starts_with("error GRANT_INVALID: "), "{end}");
    good(&["function", "off", "--config", &config, "batches"]);
    for command in [&["check-config", &config][..], &["doctor", "--config", &config]] {
        let told = good(command);
        assert!(told.contains(" BATCHES_OFF: ") && told.contains("windvane function on batches"), "{told}");
    }
}

#[test]
fn a_token_that_cannot_be_written_admits_nobody() {
    let (dir, config) = node_of("bank.toml");
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    good(&["keys", "init", "--config", &config]);
    let add = ["keys", "token", "add", "core", "--config", &config, "--out"];
    let lost = bad(&[&add[..], &[&path("nowhere/token")]].concat());
    assert!(lost.starts_with("error FILE_IO: "), "{lost}");
    assert!(good(&[&add[..], &[&path("token")]].concat()).contains("is admitted"));
    assert!(bad(&[&add[..], &[&path("token")]].concat()).starts_with("error ALREADY_EXISTS: "));
}

#[test]
fn a_certificate_is_revoked_by_what_its_authority_kept_and_its_node_is_told() {
    let (dir, config) = node_of("carrier.toml");
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (request, enrolment, ca, list) = (path("request"), path("enrolment"), path("ca"), path("list"));
    good(&["keys", "init", "--config", &config]);
    good(&["keys", "ca", "init", "--dir", &ca, "--name", "Trial"]);
    good(&["partner", "request", "--config", &config, "--out", &request]);
    good(&["partner", "sign", "--ca", &ca, &request, "--out", &enrolment]);
    good(&["partner", "import", "--config", &config, &enrolment]);
    let first = std::fs::read(&enrolment).unwrap();
    // The files of the renewal take the place of the first.
    good(&["keys", "renew", "--config", &config, "--out", &request]);
    good(&["partner", "sign", "--ca", &ca, &request, "--out", &enrolment]);
    let kept = std::fs::read_dir(dir.path().join("ca/signed")).unwrap().map(|entry| entry.unwrap().path());
    let kept: Vec<_> = kept.collect();
    assert_eq!(kept.len(), 2, "{kept:?}");
    let old = kept.iter().find(|path| std::fs::read(path).unwrap() == first).unwrap().to_str().unwrap();

    good(&["keys", "ca", "revoke", "--ca", &ca, "--out", &list, old]);
    good(&["partner", "revocations", "--config", &config, &list]);
    let checked = bad(&["check-config", &config]);
    assert!(checked.contains("problem CERTIFICATE_REVOKED: carrier-a: "), "{checked}");
    assert!(checked.contains("windvane keys renew"), "{checked}");
    assert!(bad(&["doctor", "--config", &config]).contains("problem CERTIFICATE_REVOKED: "));
    good(&["partner", "import", "--config", &config, &enrolment]);
    assert!(!good(&["check-config", &config]).contains("CERTIFICATE_REVOKED"));
}

#[test]
fn a_token_is_not_written_where_a_backup_would_take_it_along() {
    let (dir, config) = node_of("bank.toml");
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    good(&["keys", "init", "--config", &config]);
    let (inside, outside) = (path("data/token"), path("token"));
    let add = |out| ["keys", "token", "add", "desk", "--config", &config, "--out", out];
    assert!(bad(&add(&inside)).starts_with("error OUT_IN_DATA_DIR: "));
    assert!(!std::path::Path::new(&inside).exists());
    // Nobody was admitted.
    good(&add(&outside));
}

#[test]
fn a_training_that_cannot_be_read_keeps_no_other_out_of_the_list() {
    let (dir, config) = node_of("bank.toml");
    for (id, journal) in [("07", "damaged\n"), ("08", "")] {
        let folder = dir.path().join("data/train").join(id.repeat(16));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("plan.json"), "").unwrap();
        std::fs::write(folder.join("journal"), journal).unwrap();
    }
    let listed: serde_json::Value =
        serde_json::from_str(&good(&["train", "status", "--config", &config, "--json"])).unwrap();
    let states: Vec<_> = listed.as_array().unwrap().iter().map(|training| &training["state"]).collect();
    assert_eq!(states.len(), 2, "{listed}");
    assert_eq!(states[0], "unreadable", "{listed}");
    bad(&["train", "status", "--config", &config, &"07".repeat(16)]);
}

#[test]
fn audits_end_in_zero_for_good_logs_and_in_one_for_findings() {
    let (dir, config) = node_of("carrier.toml");
    good(&["keys", "init", "--config", &config]);
    let data = dir.path().join("data");
    let data = data.to_str().unwrap();
    let key = good(&["keys", "log-verifier", "--config", &config]);
    let report: serde_json::Value =
        serde_json::from_str(&good(&["audit", "verify", data, "--vkey", key.trim(), "--json"])).unwrap();
    assert_eq!((&report["ok"], &report["logs"][0]["party"]), (&true.into(), &"carrier-a".into()));
    let checkpoint = format!("{data}/log/checkpoint");
    good(&["audit", "verify", data, "--since", &checkpoint]);
    let (other, other_config) = node_of("bank.toml");
    good(&["keys", "init", "--config", &other_config]);
    let other_data = other.path().join("data");
    let other_data = other_data.to_str().unwrap();
    let other_key = good(&["keys", "log-verifier", "--config", &other_config]);
    assert!(bad(&["audit", "verify", data, "--vkey", other_key.trim()]).contains("OTHER_LOG"));
    let both = ["audit", "verify", data, other_data, "--vkey", key.trim(), "--vkey", other_key.trim()];
    assert!(!good(&both).contains("taken from the log itself"));
    let unused = ["audit", "verify", data, data, "--vkey", other_key.trim()];
    assert!(bad(&unused).starts_with("error OPTION_UNUSED: "));
    assert!(bad(&["audit", "reconcile", data, other_data]).contains("NOTHING_IN_COMMON"));
    usage(&["audit", "reconcile", data]);
    usage(&["audit", "verify", data, "--vkey", "windvane/carrier-a/log"]);
    std::fs::remove_file(checkpoint).unwrap();
    assert!(bad(&["audit", "verify", data]).contains("finding"));
}

#[test]
fn a_file_that_fails_its_gates_is_reported_and_ends_in_one() {
    let (dir, config) = node_of("carrier.toml");
    good(&["keys", "init", "--config", &config]);
    let file = dir.path().join("carrier.csv");
    let header =
        "手机号,姓名,证件类型,证件号码,用户状态,入网日期,换卡日期,二次放号,同证号码数,风险标签,数据日期";
    let row = "123,王小明,居民身份证,11010519491231002X,正常,2025-07-25,,否,1,,2026-11-01";
    std::fs::write(&file, format!("{header}\n{row}\n")).unwrap();
    let import = ["dataset", "import", "--config", &config, "--json", file.to_str().unwrap()];
    let outcome = windvane(&import);
    assert_eq!(outcome.code, format!("{:?}", ExitCode::FAILURE));
    assert!(outcome.err.starts_with("error QUALITY_GATE: "), "{}", outcome.err);
    let report: serde_json::Value = serde_json::from_str(&outcome.out).unwrap();
    assert_eq!((&report["rows"], &report["rejected"]), (&1.into(), &1.into()));
    let rejects = std::fs::read_to_string(report["rejects"].as_str().unwrap()).unwrap();
    assert!(rejects.contains("PHONE_LENGTH") && !rejects.contains("123"), "{rejects}");
    assert!(bad(&["dataset", "build", "--config", &config]).starts_with("error STAGING_MISSING: "));
    assert!(good(&["dataset", "status", "--config", &config]).contains("nothing imported"));
}

#[test]
fn what_measures_or_shows_refuses_nothing_to_work_on() {
    usage(&["bench", "build", "--rows", "0"]);
    usage(&["bench", "verify", "--seconds", "0"]);
    usage(&["bench", "kernels", "--elements", "0"]);
    usage(&["bench", "kernels", "--rounds", "0"]);
    usage(&["demo", "--subscribers", "0"]);
    usage(&["verify-batch", "in.csv", "--purpose", "p", "--operator", "o", "--out", "o", "--chunk", "4097"]);
}

fn arguments<'a>(first: &[&'a str], then: &[&'a str], last: &[&'a str]) -> Vec<&'a str> {
    [first, then, last].concat()
}

#[test]
fn jobs_of_set_intersection_are_named_by_what_is_missing() {
    let (_dir, config) = node_of("bank.toml");
    let line = |rest: &'static [&'static str]| arguments(&["psi"], rest, &["--config", &config]);
    assert!(usage(&line(&["run"])).contains("--provider"));
    assert!(usage(&line(&["run", "--job-file", "j.toml", "--list", "l"])).contains("--job-file"));
    assert!(bad(&line(&["run", "--job-file", "absent.toml"])).contains("absent.toml"));
    assert!(good(&line(&["status"])).starts_with("JOB"));
    assert_eq!(good(&line(&["status", "--json"])).trim(), "[]");
    let absent = "00".repeat(16);
    for command in ["status", "cancel"] {
        let about = |job| arguments(&["psi", command], &[job], &["--config", &config]);
        assert!(bad(&about("nonsense")).contains("JOB_INVALID"));
        assert!(bad(&about(&absent)).contains("NOT_FOUND"));
    }
}

#[test]
fn a_folder_of_a_job_that_never_began_keeps_no_other_from_being_listed() {
    let (_dir, config) = node_of("bank.toml");
    let root = windvane::config::Config::load(std::path::Path::new(&config)).unwrap().node.data_dir;
    let [begun, never] = [[5; 16], [6; 16]].map(windvane_protocols::party::SessionId::from_bytes);
    windvane::psi::folder::JobFolder::open(&root, begun).unwrap();
    std::fs::create_dir(windvane::psi::folder::JobFolder::path_of(&root, never)).unwrap();
    let listed = good(&["psi", "status", "--config", &config]);
    assert!(listed.contains(&begun.to_string()) && !listed.contains(&never.to_string()), "{listed}");
    assert!(bad(&["psi", "status", &never.to_string(), "--config", &config]).contains("NOT_FOUND"));
}

#[test]
fn a_cancelled_job_goes_on_where_its_plan_is_and_nowhere_else() {
    let (_dir, config) = node_of("bank.toml");
    let root = windvane::config::Config::load(std::path::Path::new(&config)).unwrap().node.data_dir;
    let job = windvane_protocols::party::SessionId::from_bytes([5; 16]);
    let folder = windvane::psi::folder::JobFolder::open(&root, job).unwrap();
    let name = job.to_string();
    let cancel = ["psi", "cancel", &name, "--config", &config];
    assert!(good(&cancel).contains("for good"));
    let plan = windvane::psi::JobPlan::new("carrier-a", "risk", "in.csv".into(), "out.csv".into());
    std::fs::write(folder.path().join("plan.json"), serde_json::to_vec(&plan).unwrap()).unwrap();
    assert!(good(&cancel).contains("`psi resume` goes on"));
}

#[test]
fn a_grant_is_for_verification_or_for_set_intersection() {
    let (_dir, config) = node_of("carrier.toml");
    let issue = |rest: &'static [&'static str]| {
        let common = ["grant", "issue", "--to", "bank", "--data-set", "risk-list", "--purposes", "screening"];
        arguments(&common, rest, &["--days", "30", "--config", &config])
    };
    assert!(usage(&issue(&[])).contains("--families"));
    assert!(usage(&issue(&["--psi-minimum", "5"])).contains("--psi-runs"));
    // It parses, and only then misses the node's keys.
    assert!(!bad(&issue(&["--psi-runs", "10", "--psi-minimum", "5"])).contains("--"));
    assert!(usage(&issue(&["--train-rows", "5"])).contains("--train-runs"));
    assert!(usage(&issue(&["--train-runs", "0"])).contains("--train-runs"));
    assert!(usage(&issue(&["--train-alone"])).contains("--train-runs"));
    assert!(!bad(&issue(&["--train-runs", "2", "--train-named-features", "--train-alone"])).contains("--"));
}

#[test]
fn a_schema_of_a_training_is_fitted_on_a_table_of_this_node() {
    let (_dir, config) = node_of("carrier.toml");
    assert!(usage(&["train", "schema", "--config", &config]).contains("--from"));
    assert!(
        bad(&["train", "schema", "--from", "features.csv", "--config", "/nowhere"])
            .contains("CONFIG_UNREADABLE")
    );
}

#[test]
fn a_screening_is_named_by_what_is_missing() {
    let (dir, config) = node_of("bank.toml");
    let run = |plan: &str| bad(&["screen", "run", "--plan-file", plan, "--config", &config]);
    assert!(usage(&["screen", "run"]).contains("--plan-file"));
    assert!(run("absent.toml").contains("absent.toml"));
    let plan = dir.path().join("plan.toml");
    std::fs::write(&plan, "purpose = 3").unwrap();
    let plan = plan.to_str().unwrap();
    assert!(run(plan).contains("SCREEN_PLAN"));
}

#[test]
fn a_screening_with_scores_asks_the_running_node_in_both_forms() {
    let (dir, config) = node_of("bank.toml");
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (plan, token) = (path("plan.toml"), path("token"));
    let scored = "[score]\noperator = \"o\"\nconsent = \"c\"\n\n[daily]";
    std::fs::write(&plan, windvane::screen::SAMPLE.replacen("[daily]", scored, 1)).unwrap();
    let line = ["screen", "run", "--plan-file", &plan, "--config", &config, "--token-file", &token];
    for form in [&line[..], &[&line[..], &["--daily"]].concat()] {
        let read = bad(form);
        assert!(read.contains(&token) && !read.contains("SCREEN_PLAN"), "{read}");
    }
    std::fs::write(&token, "A".repeat(43)).unwrap();
    std::fs::set_permissions(&token, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    // What is missing now are the node's keys.
    let keyless = bad(&line);
    assert!(!keyless.contains("SCREEN_PLAN") && !keyless.contains("TOKEN"), "{keyless}");
}

#[test]
fn a_card_is_of_a_model_in_a_group() {
    assert!(usage(&["score", "model", "card", "fraud-9"]).contains("--group"));
    assert!(usage(&["score", "model", "card", "--group", "joint-risk"]).contains("<NAME>"));
}

#[test]
fn a_lone_providers_overlap_must_be_said_and_a_publication_needs_an_epoch() {
    let publish = |more: &[&'static str]| {
        let line = ["score", "publish", "--config", "/nowhere", "--group", "fraud", "--parts", "parts.csv"];
        windvane(&[&line, more].concat())
    };
    let sound = publish(&["--default", "3", "--coverage", "overlapped"]);
    assert!(sound.err.starts_with("error CONFIG_UNREADABLE: /nowhere: "), "{}", sound.err);
    let sound = publish(&["--default", "3", "--coverage", "alone", "--overlap-permille", "250"]);
    assert!(sound.err.starts_with("error CONFIG_UNREADABLE: /nowhere: "), "{}", sound.err);
    for (more, missing) in [
        (["--default", "3", "--coverage", "alone"], "--overlap-permille"),
        (["--default", "256", "--coverage", "overlapped"], "--default"),
        (["--default", "3", "--coverage", "both"], "--coverage"),
    ] {
        let outcome = publish(&more);
        assert_eq!(outcome.code, format!("{:?}", ExitCode::from(USAGE)), "{more:?}");
        assert!(outcome.err.contains(missing), "{more:?}: {}", outcome.err);
    }
    assert!(usage(&["score", "fetch", "--group", "A/B"]).contains("--group"));
}
