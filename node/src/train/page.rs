//! A training's report for people: one HTML page with its charts, in Chinese and English, that loads nothing.
//!
//! It goes to the bank's own model validation and to its regulator. No number is in it.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::run::{BinPoints, FeaturePoints, TrainReport};

mod chart;

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:64rem;margin:2rem auto;padding:0 1rem;\
color:#1c2430}h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2rem;border-bottom:1px solid #d5dbe3}\
table{border-collapse:collapse;width:100%;margin:.5rem 0}th,td{padding:.25rem .6rem;text-align:left;\
border-bottom:1px solid #e6eaf0}td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}\
code{overflow-wrap:anywhere}.charts{display:flex;flex-wrap:wrap;gap:1rem}.charts figure{margin:0}\
figcaption{font-size:.85rem;color:#55606e}";

impl TrainReport {
    /// The report as a page.
    pub fn page(&self) -> String {
        let page = html! {
            (DOCTYPE)
            html lang="zh" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width";
                    title { (self.model) " · 模型报告 Model report" }
                    style { (PreEscaped(STYLE)) }
                }
                body {
                    h1 { "模型报告 Model report: " (self.model) }
                    (lines(&self.summary()))
                    h2 { "效果 Performance" }
                    (self.performance())
                    h2 { "参与方 Providers" }
                    (self.parties())
                    h2 { "本行特征分值 The bank's own points" }
                    @for feature in &self.own { (table(feature)) }
                    @for provider in self.providers.iter().filter(|provider| !provider.points.is_empty()) {
                        h2 { "参与方特征分值 Points of " (provider.parties.join(", ")) }
                        @for feature in &provider.points { (table(feature)) }
                    }
                }
            }
        };
        page.into_string()
    }

    fn summary(&self) -> Vec<(&'static str, String)> {
        vec![
            ("评分组 Scoring group", self.group.clone()),
            ("模型 Kind", self.kind.clone()),
            ("训练编号 Training", self.training.clone()),
            ("训练样本 Rows trained on", self.rows.to_string()),
            ("留出 Held out", self.held_out.to_string()),
            ("名单（含诱饵） Listed, with decoys", self.listed.to_string()),
            ("诱饵倍数 Decoy factor", self.decoy_factor.to_string()),
            ("最小计数 Minimum count", self.minimum_count.to_string()),
            (
                "轮数 × 树 × 深度 Blocks × trees × depth",
                format!("{} × {} × {}", self.blocks, self.trees, self.depth),
            ),
            ("模型卡摘要 Card's digest", self.card.clone()),
            ("收据摘要 Receipts' digest", self.receipts.clone()),
        ]
    }

    fn performance(&self) -> Markup {
        let of = if self.figures_of_held_out {
            "留出样本 Of held-out rows"
        } else {
            "训练样本 Of the rows that were trained on"
        };
        let figures = [
            ("AUC", self.auc),
            ("KS", self.ks),
            ("校准误差（拟合样本） Calibration error, of the rows it was fitted on", self.calibration_error),
            ("信息值 Information value", self.information_value),
        ];
        let blocks: Vec<_> = self.auc_by_block.iter().flatten().copied().collect();
        let charts = [
            ("ROC 曲线 Receiver operating characteristic", chart::curve(&self.charts.curve)),
            ("每轮后的 AUC AUC after each block", chart::blocks(&blocks)),
            ("校准 Promised and observed probability", chart::reliability(&self.charts.reliability)),
            ("分数分布 Distribution of scores", chart::distribution(&self.charts.distribution)),
        ];
        html! {
            p { (of) }
            (lines(&figures.map(|(name, value)| (name, format!("{value:.4}")))))
            div.charts {
                @for (caption, svg) in charts {
                    @if let Some(svg) = svg { figure { (PreEscaped(svg)) figcaption { (caption) } } }
                }
            }
        }
    }

    fn parties(&self) -> Markup {
        html! {
            table {
                tr { th { "参与方 Provider" } th.n { "特征数 Features" } th { "收据摘要 Receipt's digest" } }
                @for provider in &self.providers {
                    tr {
                        td { (provider.parties.join(", ")) }
                        td.n { (provider.features) }
                        td { @for receipt in &provider.receipts { code { (receipt) } br; } }
                    }
                }
            }
        }
    }
}

fn lines(lines: &[(&str, String)]) -> Markup {
    html! { table { @for (name, value) in lines { tr { th { (name) } td { code { (value) } } } } } }
}

fn table(feature: &FeaturePoints) -> Markup {
    html! {
        h3 { (feature.feature) }
        p { "分裂数 Splits: " (feature.splits) }
        @if !feature.bins.is_empty() {
            table {
                tr { th { "取值 Values" } th.n { "分值 Points" } }
                @for bin in &feature.bins { tr { td { (bin.values()) } td.n { (format!("{:+.1}", bin.points)) } } }
            }
        }
    }
}

impl BinPoints {
    /// Which values the bins have, in words.
    pub fn values(&self) -> String {
        let edges = match (self.above, self.up_to) {
            (Some(above), Some(up_to)) => format!("above {above} up to {up_to}"),
            (Some(above), None) => format!("above {above}"),
            (None, Some(up_to)) => format!("up to {up_to}"),
            (None, None) if self.first == self.last => format!("bin {}", self.first),
            (None, None) => format!("bins {} to {}", self.first, self.last),
        };
        if self.missing { format!("missing, {edges}") } else { edges }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::metrics::{Ranking, Scored};
    use crate::train::run::{Charts, ProviderReport};

    fn report(charts: Charts, auc_by_block: Vec<Option<f64>>) -> TrainReport {
        let bin = BinPoints { missing: true, above: None, up_to: Some(7.5), first: 0, last: 3, points: -3.5 };
        TrainReport {
            training: "00ff".into(),
            model: "joint-risk-1".into(),
            group: "joint-risk".into(),
            kind: "scorecard".into(),
            card: "cd".repeat(64),
            rows: 100,
            held_out: 25,
            listed: 300,
            decoy_factor: 2,
            minimum_count: 50,
            blocks: 3,
            trees: 20,
            depth: 1,
            figures_of_held_out: true,
            auc: 0.9512,
            auc_of_contributions: 0.952,
            auc_by_block,
            ks: 0.8,
            calibration_error: 0.01,
            information_value: 2.5,
            charts,
            widest: 900,
            own: vec![FeaturePoints { feature: "<arpu & more>".into(), splits: 4, bins: vec![bin] }],
            providers: vec![ProviderReport {
                parties: vec!["carrier-a".into()],
                features: 12,
                receipts: vec!["ab".repeat(64)],
                points: vec![FeaturePoints { feature: "3".into(), splits: 9, bins: Vec::new() }],
            }],
            receipts: "ef".repeat(64),
            bytes_sent: 1,
            bytes_received: 2,
            calls: 3,
            rounds: 4,
            seconds: 5.0,
        }
    }

    #[test]
    fn a_page_has_figures_charts_and_both_languages_and_loads_nothing() {
        let rows: Vec<_> = (0..200).map(|score| Scored { score, label: score % 7 < score / 40 }).collect();
        let ranking = Ranking::new(&rows).unwrap();
        let charts = Charts::new(&ranking, &ranking.calibration());
        let page = report(charts, vec![Some(0.9), None, Some(0.95)]).page();
        let texts = [
            "0.9512",
            "模型报告",
            "Model report",
            "&lt;arpu &amp; more&gt;",
            "carrier-a",
            "missing, up to 7.5",
            "-3.5",
        ];
        for text in texts {
            assert!(page.contains(text), "{text}");
        }
        assert_eq!(page.matches("<svg").count(), 4);
        let page = page.replace("http://www.w3.org/2000/svg", "");
        for outside in ["http://", "https://", "<script", "src="] {
            assert!(!page.contains(outside), "{outside}");
        }
    }

    #[test]
    fn a_report_without_rows_has_no_charts_and_no_fault() {
        assert_eq!(report(Charts::default(), Vec::new()).page().matches("<svg").count(), 0);
    }
}
