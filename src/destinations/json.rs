//! A summary as one line of JSON: what files, datagrams and HTTP carry.

use serde_json::Value;

use crate::summary::Summary;

/// The summary as JSON, without a newline; with a prefix, the seed's
/// `test_name` is `PREFIX.NAME`.
pub(super) fn object(summary: &Summary, prefix: Option<&str>) -> String {
    let text = summary.to_json();
    let Some(prefix) = prefix else { return text };
    match serde_json::from_str(&text) {
        Ok(Value::Object(mut object)) => {
            object.insert(String::from("test_name"), Value::String(format!("{prefix}.{}", summary.test)));
            Value::Object(object).to_string()
        }
        _ => unreachable!("a summary's JSON is an object"),
    }
}

/// A batch as JSON lines, each with its newline.
pub(super) fn lines(batch: &[Summary], prefix: Option<&str>) -> String {
    batch.iter().map(|summary| object(summary, prefix) + "\n").collect()
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn a_prefix_stands_before_the_seeds_name_alone() {
        let summary = sample::test("hello");
        assert_eq!(object(&summary, None), summary.to_json());
        let value: Value = serde_json::from_str(&object(&summary, Some("lab.a"))).expect("it is JSON");
        assert_eq!((&value["test_name"], &value["test"]), (&"lab.a.hello".into(), &"hello".into()));
        assert_eq!(value["planned"], 105);
    }

    #[test]
    fn a_batch_is_one_line_each() {
        let lines = lines(&[sample::test("a"), sample::runner()], Some("p"));
        assert_eq!(lines.matches('\n').count(), 2);
        assert!(lines.ends_with("}\n"));
    }
}
