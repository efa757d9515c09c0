//! The variables of a query: `%v`, `%now%`, `%time%`.
//!
//! A percent sign that begins none of them is what it is, and `%%` is one, too,
//! as influx_stress had it. In a type, a word between two that isn't known is a
//! fault, as is `%d`, which was another way to say `%v` there: nothing is sent
//! that somebody meant otherwise.

use std::iter;

use crate::fault::nearest;

/// All variables; none begins as another one.
const VARIABLES: [(&str, Variable); 3] =
    [("%v", Variable::Number), ("%now%", Variable::Now), ("%time%", Variable::Time)];
/// The longest word that a message has in it, in bytes; what is longer is no variable that was misspelled.
const MAX_WORD: usize = 16;

/// What is another one in each query.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Variable {
    /// A number.
    Number,
    /// The present.
    Now,
    /// The newest time stamp of the writer.
    Time,
}

/// A piece of a query.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Piece<'a> {
    /// What is always the same.
    Text(&'a str),
    /// What isn't.
    Variable(Variable),
}

/// The pieces of a query, in turn.
pub fn pieces(query: &str) -> impl Iterator<Item = Piece<'_>> {
    walk(query).map(|(piece, _)| piece)
}

/// The variables that a type's query has, in turn.
///
/// # Errors
/// What would be right, where one isn't known.
pub fn variables(query: &str) -> Result<Vec<Variable>, String> {
    let mut found = Vec::new();
    for (piece, from) in walk(query) {
        check(from)?;
        if let Piece::Variable(variable) = piece {
            found.push(variable);
        }
    }
    Ok(found)
}

/// The pieces of a query, and for each the query from its beginning on.
fn walk(query: &str) -> impl Iterator<Item = (Piece<'_>, &str)> {
    let mut rest = query;
    iter::from_fn(move || {
        let from = rest;
        let variable = VARIABLES.iter().find(|(name, _)| from.starts_with(name));
        let (piece, length) = match (variable, from.find('%')) {
            _ if from.is_empty() => return None,
            (Some((name, variable)), _) => (Piece::Variable(*variable), name.len()),
            (None, Some(0)) => (Piece::Text("%"), if from.starts_with("%%") { 2 } else { 1 }),
            (None, end) => {
                let text = &from[..end.unwrap_or(from.len())];
                (Piece::Text(text), text.len())
            }
        };
        rest = &from[length..];
        Some((piece, from))
    })
}

/// Whether what stands at the beginning of a text looks like a variable and is none; what would be right then.
fn check(from: &str) -> Result<(), String> {
    let Some(behind) = from.strip_prefix('%') else { return Ok(()) };
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let (word, rest) = behind.split_at(behind.find(|c| !is_word(c)).unwrap_or(behind.len()));
    let is_closed = rest.starts_with('%') && !word.is_empty();
    let known = || VARIABLES.iter().map(|(name, _)| *name);
    let closed = format!("%{word}%");
    let right = match word {
        "d" if !is_closed => String::from("%v in place of %d"),
        // Whatever comes behind it, as a verb of Go's is: `%vs` is a number and an s.
        "v" => return Ok(()),
        _ if !is_closed || known().any(|name| name == closed) => return Ok(()),
        _ if word.len() > MAX_WORD => format!("{} in place of a longer word", known().collect::<Vec<_>>().join(" or ")),
        _ => match nearest(&closed, known()) {
            Some(near) => format!("{near} in place of {closed}"),
            None => format!("{} in place of {closed}", known().collect::<Vec<_>>().join(" or ")),
        },
    };
    Err(format!("{right}; or %% for a percent sign"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_found() {
        #[track_caller]
        fn check(query: &str, expect: &[&str]) {
            let expect: Vec<_> =
                expect.iter().map(|name| VARIABLES.iter().find(|known| known.0 == *name).unwrap().1).collect();
            assert_eq!(variables(query), Ok(expect), "{query}");
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
        check("%a_word_that_is_long", &[]);
        check("%very_long_word_here", &["%v"]);
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
        check("%very_long_word_here%", "%v or %now% or %time% in place of a longer word");
        check("a%%b %a_word_that_is_long%%", "%v or %now% or %time% in place of a longer word");
        check("%va%", "%v or %now% or %time% in place of %va%");
        check("host='server-%d'", "%v in place of %d");
    }
}
