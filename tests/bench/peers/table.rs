//! Medians over the repetitions, as a table in markdown.

use crate::row::{Figure, thousands};
use crate::sample::Sample;
use crate::scene::Scene;
use crate::tool::Tool;

/// A tool that sent less than this share of what it was asked for has that told.
const SENT: f64 = 0.99;

/// A line of the table.
pub struct Line {
    pub title: String,
    pub scene: Scene,
    pub cell: Cell,
}

/// What a line shows of each tool: medians.
#[derive(Clone, Copy)]
pub enum Cell {
    One(Figure),
    Pair(Figure, Figure),
    /// And its ratio to that of the named tool in the same repetition.
    Ratio(Figure, &'static str),
}

/// The table of `lines` by `tools`; lines without a figure are left out.
pub fn markdown(lines: &[Line], tools: &[Tool], samples: &[Sample]) -> String {
    let names: Vec<&str> = tools.iter().map(|tool| tool.name.as_str()).collect();
    let mut text = format!("| what | {} |\n|---|{}\n", names.join(" | "), "---|".repeat(names.len()));
    for line in lines {
        let cells: Vec<Option<String>> = names.iter().map(|tool| line.cell(tool, samples)).collect();
        if cells.iter().any(Option::is_some) {
            let cells: Vec<String> = cells.into_iter().map(|cell| cell.unwrap_or_else(|| String::from("–"))).collect();
            text += &format!("| {} | {} |\n", line.title, cells.join(" | "));
        }
    }
    text
}

impl Line {
    fn cell(&self, tool: &str, samples: &[Sample]) -> Option<String> {
        let median_of = |figure: Figure| median(self.of(tool, samples).filter_map(figure).collect());
        let mut text = match self.cell {
            Cell::One(figure) => number(median_of(figure)?),
            Cell::Pair(one, other) => format!("{} / {}", number(median_of(one)?), number(median_of(other)?)),
            Cell::Ratio(figure, base) => {
                let value = number(median_of(figure)?);
                match median(self.ratios(tool, base, figure, samples)) {
                    Some(ratio) if tool != base => format!("{value} ({ratio:.2} ×)"),
                    _ => value,
                }
            }
        };
        if let Some(sent) = median_of(|sample| sample.sent).filter(|sent| *sent < SENT) {
            text += &format!(", sent {:.0} %", sent * 100.0);
        }
        Some(text)
    }

    fn of<'a>(&self, tool: &str, samples: &'a [Sample]) -> impl Iterator<Item = &'a Sample> {
        let (tool, scene) = (tool.to_owned(), self.scene);
        samples
            .iter()
            .filter(move |sample| sample.tool == tool && sample.scene == scene.name() && sample.asked == scene.rate())
    }

    /// Of each repetition that has both.
    fn ratios(&self, tool: &str, base: &str, figure: Figure, samples: &[Sample]) -> Vec<f64> {
        let ratio = |sample: &Sample| {
            let mut bases = self.of(base, samples).filter(|base| base.repetition == sample.repetition);
            Some(figure(sample)? / figure(bases.next()?)?)
        };
        self.of(tool, samples).filter_map(ratio).collect()
    }
}

/// The one in the middle, or the mean of the two there.
fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let half = values.len() / 2;
    let high = *values.get(half)?;
    Some(if values.len() % 2 == 1 { high } else { f64::midpoint(values[half - 1], high) })
}

/// With as many digits as mean something.
fn number(value: f64) -> String {
    if value < 100.0 { format!("{value:.1}") } else { thousands(value.round() as u32) }
}
