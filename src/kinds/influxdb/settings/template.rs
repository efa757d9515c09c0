//! The variables of a query: `%v`, `%now%`, `%time%`.
//!
//! A percent sign that begins none of them is what it is, and `%%` is one, too,
//! as influx_stress had it. A word between two that isn't known is a fault, as
//! is `%d`, which was another way to say `%v` there: nothing is sent that
//! somebody meant otherwise.

use crate::fault::nearest;

/// The newest time stamp of the writer.
pub const TIME: &str = "%time%";
/// All variables.
const KNOWN: &[&str] = &["%v", "%now%", TIME];
/// The longest word that a message has in it, in bytes; what is longer is no variable that was misspelled.
const MAX_WORD: usize = 16;

/// The variables that a query has, in turn.
///
/// # Errors
/// What would be right, where one isn't known.
pub fn variables(query: &str) -> Result<Vec<&'static str>, String> {
    let mut found = Vec::new();
    let mut rest = query;
    while let Some(at) = rest.find('%') {
        let from = &rest[at..];
        let variable = if from.starts_with("%%") { None } else { variable(from)? };
        found.extend(variable);
        let sign = if from.starts_with("%%") { 2 } else { 1 };
        rest = &from[variable.map_or(sign, str::len)..];
    }
    Ok(found)
}

/// The variable that stands at the beginning of a text.
fn variable(from: &str) -> Result<Option<&'static str>, String> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let end = 1 + from[1..].find(|c| !is_word(c)).unwrap_or(from.len() - 1);
    let (word, is_closed) = (&from[1..end], from[end..].starts_with('%'));
    if is_closed && word != "v" {
        let closed = &from[..=end];
        let known = KNOWN.iter().find(|known| **known == closed);
        return match known {
            Some(known) => Ok(Some(known)),
            None if word.len() > MAX_WORD => Ok(None),
            None => Err(match nearest(closed, KNOWN.iter().copied()) {
                Some(near) => format!("{near} in place of {closed}; or %% for a percent sign"),
                None => format!("{} in place of {closed}; or %% for a percent sign", KNOWN.join(" or ")),
            }),
        };
    }
    match word {
        "d" => Err(String::from("%v in place of %d; or %% for a percent sign")),
        // Whatever comes behind it, as a verb of Go's is: `%vs` is a number and an s.
        _ => Ok(word.starts_with('v').then_some(KNOWN[0])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_found() {
        #[track_caller]
        fn check(query: &str, expect: &[&str]) {
            assert_eq!(variables(query).as_deref(), Ok(expect), "{query}");
        }
        check("", &[]);
        check("SELECT 1", &[]);
        check("host='server-%v'", &["%v"]);
        check("%v%v", &["%v", "%v"]);
        check("%v%", &["%v"]);
        check("%vs", &["%v"]);
        check("%v%now%", &["%v", "%now%"]);
        check("time < %now%", &["%now%"]);
        check("%time%%now%", &["%time%", "%now%"]);
        check("%%v %%now%% %%d", &[]);
        check("%%%v", &["%v"]);
        check("a % b, a%b, é%, %é%, 50%", &[]);
        check("%a_word_that_is_too_long%", &[]);
    }

    #[test]
    fn unknown_variables_are_told_with_the_nearest() {
        #[track_caller]
        fn check(query: &str, expect: &str) {
            assert_eq!(variables(query), Err(format!("{expect}; or %% for a percent sign")), "{query}");
        }
        check("time > %tiem%", "%time% in place of %tiem%");
        check("%v %Now%", "%now% in place of %Now%");
        check("%value%", "%v or %now% or %time% in place of %value%");
        check("host='server-%d'", "%v in place of %d");
    }
}
