//! What a command's end, and what it has written, say of its hit.

use super::output::Output;
use super::perfdata;
use super::settings::Settings;
use crate::fault::quote;
use crate::guard::{Gone, Status};
use crate::target::{Failure, Outcome, Reason};

/// How much of a command's standard output is kept, in bytes: what its values are read from.
const KEPT_STDOUT: usize = 64 << 10;
/// How much of its standard error is kept, in bytes: the first line, for a person.
const KEPT_STDERR: usize = 1 << 10;

/// What a command has written so far.
#[derive(Debug)]
pub struct Outputs {
    /// Its standard output.
    pub stdout: Output,
    /// Its standard error.
    pub stderr: Output,
}

impl Default for Outputs {
    fn default() -> Self {
        Self { stdout: Output::keeping(KEPT_STDOUT), stderr: Output::keeping(KEPT_STDERR) }
    }
}

/// The outcome of a hit whose command has `ended`, or not in time: `None`.
///
/// That it could not be started is no exit of it, so the reason [`Reason::Exit`] is always the command's own word.
pub fn judge(settings: &Settings, ended: Option<&Result<Status, Gone>>, outputs: &Outputs) -> Outcome {
    let failure = match ended {
        None => Some(Failure::new(Reason::Timeout, format_args!("not done after {:?}, and killed", settings.timeout))),
        Some(Err(gone)) => Some(Failure::new(Reason::Other, gone)),
        Some(Ok(status @ Status::NotStarted(_))) => Some(Failure::new(Reason::Other, status)),
        Some(Ok(Status::Exited(status))) if settings.is_ok(*status) => None,
        Some(Ok(status @ (Status::Exited(_) | Status::Signaled(_)))) => {
            let [said, complained] = [&outputs.stdout, &outputs.stderr].map(|output| quote(&output.first_line()));
            let detail = format_args!("{status}; standard output {said}, standard error {complained}");
            Some(Failure::new(Reason::Exit, detail))
        }
    };
    // A plugin tells them also of what is wrong.
    let values = match ended {
        Some(Ok(Status::Exited(_))) => perfdata::read(&outputs.stdout.text()),
        _ => Vec::new(),
    };
    Outcome { failure, values, bytes_in: outputs.stdout.total(), ..Outcome::default() }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use super::*;
    use crate::guard::Request;
    use crate::target::Value;

    fn outputs(stdout: &str, stderr: &str) -> Outputs {
        let mut outputs = Outputs::default();
        outputs.stdout.add(stdout.as_bytes());
        outputs.stderr.add(stderr.as_bytes());
        outputs
    }

    fn settings(ok: &[u8]) -> Settings {
        let request = Request::new(Path::new("/bin/true"), &[], &[], Path::new("/")).unwrap();
        Settings { request, ok: ok.to_vec(), timeout: Duration::from_secs(5) }
    }

    #[test]
    fn an_end_is_ok_or_has_its_reason() {
        #[track_caller]
        fn check(ok: &[u8], ended: Option<&Result<Status, Gone>>, expect: Option<&str>) {
            let outcome = judge(&settings(ok), ended, &outputs("\nno rows\nat all", "\u{1b}[31m\n"));
            assert_eq!(outcome.failure.map(|failure| failure.to_string()).as_deref(), expect);
            assert_eq!(outcome.bytes_in, 15);
        }
        let output = "standard output \"no rows\", standard error \"\\u{1b}[31m\"";
        check(&[0], Some(&Ok(Status::Exited(0))), None);
        check(&[0, 1], Some(&Ok(Status::Exited(1))), None);
        check(&[0, 1], Some(&Ok(Status::Exited(2))), Some(&format!("exit: exit status 2; {output}")));
        check(&[2], Some(&Ok(Status::Exited(0))), Some(&format!("exit: exit status 0; {output}")));
        check(&[0], Some(&Ok(Status::Signaled(11))), Some(&format!("exit: ended by signal 11 (SIGSEGV); {output}")));
        check(
            &[0],
            Some(&Ok(Status::NotStarted(13))),
            Some("other: could not be started: Permission denied (os error 13)"),
        );
        check(&[0], Some(&Err(Gone::Guard)), Some("other: the guard of commands was killed"));
        check(&[0], None, Some("timeout: not done after 5s, and killed"));
    }

    #[test]
    fn values_are_told_by_whatever_ended_by_itself() {
        let value = Value { name: "used".into(), value: 0.25, unit: "s".into() };
        let outputs = outputs("WARNING | used=250ms;200\n", "");
        let check = |ended: Option<&Result<Status, Gone>>, expect: &[Value]| {
            assert_eq!(judge(&settings(&[0]), ended, &outputs).values, expect);
        };
        check(Some(&Ok(Status::Exited(0))), std::slice::from_ref(&value));
        check(Some(&Ok(Status::Exited(1))), &[value]);
        check(Some(&Ok(Status::Signaled(9))), &[]);
        check(Some(&Err(Gone::Guard)), &[]);
        check(None, &[]);
    }
}
