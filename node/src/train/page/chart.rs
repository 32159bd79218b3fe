//! The page's charts, as SVG.

use plotters::prelude::*;

use crate::train::metrics::{Operating, Reliability, ScoreClass};

const SIZE: (u32, u32) = (460, 320);
const MAIN: RGBColor = RGBColor(31, 97, 165);
const OTHER: RGBColor = RGBColor(196, 78, 48);
const FAINT: RGBColor = RGBColor(150, 158, 168);

/// What drawing into a string can fail with: nothing that a report could cause.
type Drawn = Result<(), Box<dyn std::error::Error>>;

/// Which rows of a class a bar is of.
type Rows = fn(&ScoreClass) -> u64;

/// True over false positive shares.
pub(super) fn curve(points: &[Operating]) -> Option<String> {
    let points: Vec<_> = points.iter().map(|point| (point.false_positive, point.true_positive)).collect();
    if points.is_empty() { None } else { shares("FPR", "TPR", &points, false) }
}

/// Observed over promised probability.
pub(super) fn reliability(groups: &[Reliability]) -> Option<String> {
    let points: Vec<_> = groups.iter().map(|group| (group.predicted, group.observed)).collect();
    if points.is_empty() { None } else { shares("promised", "observed", &points, true) }
}

/// The area under the curve after each block.
pub(super) fn blocks(auc: &[f64]) -> Option<String> {
    let low = auc.iter().copied().reduce(f64::min)?;
    let floor = (low * 20.0 - 0.5).floor() / 20.0;
    drawn(|area| {
        let mut chart = ChartBuilder::on(area)
            .margin(10)
            .x_label_area_size(35)
            .y_label_area_size(50)
            .build_cartesian_2d(1..auc.len().max(2), floor.max(0.0)..1.0)?;
        chart.configure_mesh().light_line_style(WHITE).x_desc("block").y_desc("AUC").draw()?;
        let points = || (1..).zip(auc.iter().copied());
        chart.draw_series(LineSeries::new(points(), MAIN.stroke_width(2)))?;
        chart.draw_series(points().map(|point| Circle::new(point, 3, MAIN.filled())))?;
        Ok(())
    })
}

/// Rows by score: of the class that is looked for, and of the other.
pub(super) fn distribution(classes: &[ScoreClass]) -> Option<String> {
    let (first, last) = (classes.first()?, classes.last()?);
    let most = classes.iter().map(|class| class.positive.max(class.negative)).max()?;
    drawn(|area| {
        let mut chart = ChartBuilder::on(area)
            .margin(10)
            .x_label_area_size(35)
            .y_label_area_size(50)
            .build_cartesian_2d(first.from..last.to, 0..most + most / 10 + 1)?;
        chart.configure_mesh().light_line_style(WHITE).x_desc("score").y_desc("rows").draw()?;
        let bars = |color: RGBColor, rows: Rows| {
            classes.iter().map(move |class| {
                Rectangle::new([(class.from, 0), (class.to, rows(class))], color.mix(0.5).filled())
            })
        };
        let (negative, positive): (Rows, Rows) = (|class| class.negative, |class| class.positive);
        let legend = |color: RGBColor| {
            move |(x, y)| Rectangle::new([(x, y - 5), (x + 12, y + 5)], color.mix(0.5).filled())
        };
        chart.draw_series(bars(MAIN, negative))?.label("0").legend(legend(MAIN));
        chart.draw_series(bars(OTHER, positive))?.label("1").legend(legend(OTHER));
        chart.configure_series_labels().background_style(WHITE.mix(0.8)).draw()?;
        Ok(())
    })
}

/// Points of two shares, with the diagonal.
fn shares(x: &str, y: &str, points: &[(f64, f64)], dots: bool) -> Option<String> {
    drawn(|area| {
        let mut chart = ChartBuilder::on(area)
            .margin(10)
            .x_label_area_size(35)
            .y_label_area_size(50)
            .build_cartesian_2d(0.0..1.0, 0.0..1.0)?;
        chart.configure_mesh().light_line_style(WHITE).x_desc(x).y_desc(y).draw()?;
        chart.draw_series(LineSeries::new([(0.0, 0.0), (1.0, 1.0)], FAINT))?;
        chart.draw_series(LineSeries::new(points.iter().copied(), MAIN.stroke_width(2)))?;
        if dots {
            chart.draw_series(points.iter().map(|point| Circle::new(*point, 3, MAIN.filled())))?;
        }
        Ok(())
    })
}

fn drawn(draw: impl FnOnce(&DrawingArea<SVGBackend<'_>, plotters::coord::Shift>) -> Drawn) -> Option<String> {
    let mut svg = String::new();
    let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
    let result = draw(&area).and_then(|()| Ok(area.present()?));
    drop(area);
    // A chart that cannot be drawn is left out; its figures stand in the tables.
    result.is_ok().then_some(svg)
}
