//! Screenings of marked customers: the full form, the daily one by intersection and by lookups, and what goes wrong.

use std::path::Path;
use std::sync::Arc;

use windvane::admin::{Admin, GrantTerms};
use windvane::http::Client;
use windvane::screen::{DailyPlan, Route, ScreenPlan, ScreenProvider, Screening};
use windvane_protocols::identity::Family;

use super::marks::SUBSCRIBERS;
use super::operations::rows;
use super::record::REPORTS;
use super::sets::{CUSTOMERS, Sets, customers, people};
use crate::lab::{HEADER, terms};

/// Everything that a bank's operator does with lists of customers.
pub(crate) async fn run(sets: &mut Sets<'_>) {
    let content = format!("{CUSTOMERS}\n{}", customers(people()));
    let plan = plan(sets, &content);
    finished(sets, &screening(sets, &plan, false)).await;
    finished(sets, &screening(sets, &plan, true)).await;
    refused(sets, &plan, &content).await;
    by_lookups(sets, plan).await;
}

/// A plan over the customers, of whom everybody is new as well.
fn plan(sets: &Sets<'_>, content: &str) -> ScreenPlan {
    let provider = ScreenProvider {
        party: "carrier-a".into(),
        list: "risk".into(),
        tag_columns: vec!["tag".into()],
        changes: Some("risk".into()),
        new_customers: Route::Psi,
    };
    let daily = DailyPlan {
        hits: None,
        new_customers: Some(sets.write("new-customers.csv", content)),
        operator: "screening".into(),
        consent: "screening-2026".into(),
    };
    ScreenPlan {
        score: None,
        purpose: "screening".into(),
        customers: sets.write("customers.csv", content),
        customer_column: "id".into(),
        outlet_column: "outlet".into(),
        key: windvane::psi::key::KeyKind::Phone,
        key_columns: vec!["phone".into()],
        output: sets.world.lab.dir.path().join("screened"),
        idle_s: Some(20),
        memory_mb: None,
        tags: Default::default(),
        daily: Some(daily),
        providers: vec![provider],
    }
}

fn screening(sets: &Sets<'_>, plan: &ScreenPlan, daily: bool) -> Screening {
    Screening {
        config: sets.world.bank.config.clone(),
        plan: plan.clone(),
        daily,
        client: None,
        clock: Arc::new(sets.world.lab.clock.clone()),
        progress: Arc::new(()),
    }
}

/// Screens, and keeps the lists: they have the bank's own numbers of customers, and nothing else of anybody.
async fn finished(sets: &Sets<'_>, screening: &Screening) {
    let report = screening.run().await.unwrap();
    assert!(report.summary.listed as usize >= SUBSCRIBERS.len(), "{report:?}");
    assert!(if screening.daily { report.new_rejected > 0 } else { report.rejected > 0 }, "{report:?}");
    sets.record.told("screenings", &report);
    sets.record.files(REPORTS, "lists", &screening.plan.output);
}

/// Files and plans that a bank's operator may get wrong, and a list whose tags nobody knows.
async fn refused(sets: &Sets<'_>, plan: &ScreenPlan, content: &str) {
    let elsewhere = |what: &str| sets.world.lab.dir.path().join(what);
    let (header, rows) = content.split_once('\n').unwrap();
    for (code, text) in [
        ("COLUMN_MISSING", rows.to_owned()),
        ("CUSTOMER_REPEATED", format!("{content}{rows}")),
        ("CUSTOMER_MISSING", content.replacen("K1,", ",", 1)),
        ("TABLE_EMPTY", String::new()),
        ("COLUMN_REPEATED", format!("{}\n{rows}", header.replace("name", "id"))),
    ] {
        let customers = sets.write("wrong-customers.csv", &text);
        let plan = ScreenPlan { customers, output: elsewhere("wrong"), ..plan.clone() };
        let error = sets.record.error("wrong customers", screening(sets, &plan, false).run().await);
        assert_eq!(error.code(), code);
    }
    let mut tagged = ScreenPlan { output: elsewhere("tagged"), ..plan.clone() };
    tagged.providers[0].tag_columns = vec!["note".into()];
    let error = sets.record.error("unknown tags", screening(sets, &tagged, false).run().await);
    assert_eq!(error.code(), "TAG_UNKNOWN");
    for text in [content, rows] {
        let error = sets.record.error("no plan", ScreenPlan::load(&sets.write("no-plan.toml", text)));
        assert_eq!(error.code(), "SCREEN_PLAN");
        sets.record.error("no plan", ScreenPlan::parse(text));
    }
    let by_rows = routed(plan.clone(), Route::Rows);
    let error = sets.record.error("no lookups", screening(sets, &by_rows, true).run().await);
    assert_eq!(error.code(), "ROWS_UNFIT");
}

fn routed(mut plan: ScreenPlan, route: Route) -> ScreenPlan {
    plan.providers[0].new_customers = route;
    plan
}

/// The daily form against the carrier's rows, through the bank's running node.
async fn by_lookups(sets: &mut Sets<'_>, plan: ScreenPlan) {
    let file = sets.write("subscribers.csv", &format!("{HEADER}{}", rows(&SUBSCRIBERS)));
    let world = &mut sets.world;
    world.carrier.publish(&file);
    let terms = GrantTerms { families: vec![Family::Phone], purposes: vec!["screening".into()], ..terms() };
    let grant = world.carrier.admin.issue_grant(&terms).unwrap();
    world.bank.admin.accept_grant(&grant).unwrap();
    world.carrier.taken_over_by(&world.node).await;
    world.bank.config.providers[0].data_set = Some("subscribers".parse().unwrap());
    world.bank.admin = Admin::open(&world.bank.config, Arc::new(world.lab.clock.clone())).unwrap();
    world.bank.admin.fetch_snapshot("carrier-a", |_, _| ()).await.unwrap();
    let token = world.bank.admin.admit_caller("screening").unwrap();
    let node = world.lab.start(&world.bank).await;
    let client = Client::new(&format!("http://{}", node.http_address().unwrap()), &token).unwrap();
    let by_rows = routed(plan, Route::Rows);
    let screening = Screening { client: Some(client.clone()), ..screening(sets, &by_rows, true) };
    finished(sets, &screening).await;
    node.stop().await.unwrap();
    gone(sets, &by_rows, client).await;
}

/// The bank's node is not there to look anybody up.
async fn gone(sets: &Sets<'_>, plan: &ScreenPlan, client: Client) {
    let output: &Path = &sets.world.lab.dir.path().join("gone");
    std::fs::create_dir(output).unwrap();
    std::fs::copy(plan.output.join("hits.csv"), output.join("hits.csv")).unwrap();
    let plan = ScreenPlan { output: output.to_owned(), ..plan.clone() };
    let screening = Screening { client: Some(client), ..screening(sets, &plan, true) };
    sets.record.error("nobody looks up", screening.run().await);
}
