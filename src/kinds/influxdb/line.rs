//! What a point looks like: texts that are always the same, and between them what changes from point to point.

use super::digits::Piece;
use super::mix::salt;
use super::{FieldType, Format, PointSettings, spelling, stamp};

/// What stands for the name of this server in a tag's value.
pub const HOST: &str = "%host%";

/// A text, and what comes after it.
#[derive(Debug)]
pub struct Part {
    /// The text.
    pub text: Piece,
    /// What comes after it.
    pub value: Value,
}

/// What changes from point to point.
#[derive(Clone, Copy, Debug)]
pub enum Value {
    /// Nothing: the text goes on in the next part.
    Nothing,
    /// The number of the series.
    Series,
    /// 0 to 999.
    Number { salt: u64 },
    /// `true` or `false`.
    Truth { salt: u64 },
    /// 1 or 0.
    Bit { salt: u64 },
    /// The time stamp, and the end of the line.
    Stamp,
}

/// Puts parts together.
#[derive(Default)]
struct Draft {
    parts: Vec<Part>,
    /// What comes before the next value.
    text: String,
}

/// The parts of a point, as it is sent from the server named `host`.
pub fn parts(settings: &PointSettings, format: Format, host: &str) -> Vec<Part> {
    match format {
        Format::LineHttp | Format::LineUdp => line_protocol(settings, host),
        Format::GraphiteTcp | Format::GraphiteUdp => graphite(settings, host),
    }
}

impl Value {
    /// The most bytes that it has, with so many series.
    pub fn most(self, series: u64) -> usize {
        match self {
            Self::Nothing => 0,
            Self::Series => (series - 1).checked_ilog10().map_or(1, |exponent| exponent as usize + 1),
            Self::Number { .. } => 3,
            Self::Truth { .. } => 5,
            Self::Bit { .. } => 1,
            Self::Stamp => stamp::MOST,
        }
    }
}

impl Draft {
    fn push(&mut self, text: &str) -> &mut Self {
        self.text.push_str(text);
        self
    }

    fn value(&mut self, value: Value) -> &mut Self {
        let text = std::mem::take(&mut self.text).into_bytes();
        let (mut text, mut rest) = text.split_at(text.len().min(Piece::MAX));
        while !rest.is_empty() {
            self.parts.push(Part { text: Piece::new(text), value: Value::Nothing });
            (text, rest) = rest.split_at(rest.len().min(Piece::MAX));
        }
        self.parts.push(Part { text: Piece::new(text), value });
        self
    }
}

/// `measurement,tag=value-SERIES,tag=value field=1,field=2i STAMP`
fn line_protocol(settings: &PointSettings, host: &str) -> Vec<Part> {
    let mut line = Draft::default();
    line.push(&spelling::measurement(&settings.measurement));
    for (index, tag) in settings.tags.iter().enumerate() {
        let value = tag.value.replace(HOST, host);
        line.push(",").push(&spelling::key(&tag.key)).push("=");
        match index {
            0 => line.push(&spelling::key(&format!("{value}-"))).value(Value::Series),
            _ => line.push(&spelling::key(&value)),
        };
    }
    for (index, field) in settings.fields.iter().enumerate() {
        line.push(if index == 0 { " " } else { "," }).push(&spelling::key(&field.key)).push("=");
        let salt = salt(index);
        match field.value {
            FieldType::Float64 => line.value(Value::Number { salt }),
            FieldType::Int => line.value(Value::Number { salt }).push("i"),
            FieldType::Bool => line.value(Value::Truth { salt }),
            FieldType::String => line.push("\"text-").value(Value::Number { salt }).push("\""),
        };
    }
    line.push(" ").value(Value::Stamp);
    line.parts
}

/// `value-SERIES.value.measurement.field 1 STAMP`, and the same for the next field.
///
/// The field's key is always there: with two fields it has to be, and so one template reads the lines of all types.
fn graphite(settings: &PointSettings, host: &str) -> Vec<Part> {
    let mut lines = Draft::default();
    for (index, field) in settings.fields.iter().enumerate() {
        for (index, tag) in settings.tags.iter().enumerate() {
            let value = spelling::node(&tag.value.replace(HOST, host));
            match index {
                0 => lines.push(&value).push("-").value(Value::Series).push("."),
                _ => lines.push(&value).push("."),
            };
        }
        lines.push(&spelling::node(&settings.measurement)).push(".").push(&spelling::node(&field.key)).push(" ");
        let salt = salt(index);
        let value = match field.value {
            // Texts are refused where the type is read; a number is what can stand in their place.
            FieldType::Float64 | FieldType::Int | FieldType::String => Value::Number { salt },
            FieldType::Bool => Value::Bit { salt },
        };
        lines.value(value).push(" ").value(Value::Stamp);
    }
    lines.parts
}
