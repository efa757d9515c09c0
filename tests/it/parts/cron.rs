//! Debian's cron with one job of the test's own, in namespaces where the machine's jobs and mail don't exist.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Stdio};
use std::time::Duration;

use nix::unistd::{Uid, User};

use super::clock::Clock;
use super::deadline::eventually;
use super::namespace;
use super::sandbox::Sandbox;

/// How long cron may take to have read its table.
const START: Duration = Duration::from_secs(10);

/// What cron's namespace is made of. Everything that cron looks at is replaced: its tables, its run folder, and
/// `/usr/sbin`, which holds cron itself and a `sendmail` that keeps what it is given. `$1` is the test's folder. The
/// shell lives as long as somebody holds its input, and the namespace as long as the shell.
const SCRIPT: &str = r#"
cp /usr/sbin/cron "$1/cron"
for folder in /etc/cron.d /var/spool/cron /run /usr/sbin; do mount -t tmpfs tmpfs "$folder"; done
mkdir -p /var/spool/cron/crontabs
if [ -e /etc/crontab ]; then mount --bind /dev/null /etc/crontab; fi
cp "$1/cron" /usr/sbin/cron
printf '#!/bin/sh\ncat >"%s/$$.mail" && mv "%s/$$.mail" "%s/mail/$$"\n' "$1" "$1" "$1" >/usr/sbin/sendmail
chmod 0755 /usr/sbin/cron /usr/sbin/sendmail
cp "$1/table" /etc/cron.d/job
chmod 0644 /etc/cron.d/job
/usr/sbin/cron -f &
while [ ! -s /run/crond.pid ]; do sleep 0.05; done
touch "$1/ready"
read -r end || true
"#;

/// A running cron; it and its jobs end when this is dropped.
pub struct Cron {
    shell: Child,
    /// Held open: what the shell waits on.
    leash: Option<ChildStdin>,
    folder: tempfile::TempDir,
}

impl Cron {
    /// Starts one that runs `command` each minute, as the user who runs the tests, with these variables.
    #[track_caller]
    pub fn start(environment: &[(&str, &Path)], command: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let user = User::from_uid(Uid::effective()).expect("users can be looked up").expect("we are a user");
        let mut table = String::new();
        for (name, value) in environment {
            table.push_str(&format!("{name}={}\n", value.display()));
        }
        table.push_str(&format!("* * * * * {} {command}\n", user.name));
        fs::write(folder.path().join("table"), table).expect("the table can be written");
        fs::create_dir(folder.path().join("mail")).expect("the mailbox can be made");

        let log = fs::File::create(folder.path().join("log")).expect("the log can be created");
        let mut shell = namespace::machine_shell(SCRIPT)
            .args(["sh".as_ref(), folder.path().as_os_str()])
            .stdin(Stdio::piped())
            .stdout(log.try_clone().expect("the log can be shared"))
            .stderr(log)
            .spawn()
            .expect("unshare starts");
        let leash = shell.stdin.take();
        let cron = Self { shell, leash, folder };
        eventually("cron to start", START, || {
            let log = fs::read_to_string(cron.folder.path().join("log")).unwrap_or_default();
            assert_eq!(log, "", "cron's namespace can't be made");
            cron.folder.path().join("ready").exists().then_some(())
        });
        cron
    }

    /// Every mail that cron has sent so far.
    pub fn mails(&self) -> Vec<String> {
        let mails = fs::read_dir(self.folder.path().join("mail")).expect("the mailbox can be read");
        mails.flatten().map(|mail| fs::read_to_string(mail.path()).expect("a mail can be read")).collect()
    }
}

impl Drop for Cron {
    fn drop(&mut self) {
        drop(self.leash.take());
        let _ = self.shell.wait();
    }
}

/// Has cron start the runner of `sandbox` each minute, from the next on. Whatever it says would be mailed.
#[track_caller]
pub fn cron(sandbox: &Sandbox) -> Cron {
    // A minute that ends while cron starts would be counted or not, as it happens.
    let now = Clock::real();
    if now.now() > 50.0 {
        now.wait_for(60.5);
    }
    let [etc, state, lock] = ["etc", "state", "lock"].map(|name| sandbox.path(name));
    let program = PathBuf::from(env!("CARGO_BIN_EXE_canihaz"));
    let environment =
        [("CANIHAZ_ETC", &*etc), ("CANIHAZ_STATE", &*state), ("CANIHAZ_LOCK", &*lock), ("PROGRAM", &*program)];
    Cron::start(&environment, "$PROGRAM")
}

/// Waits until as many minutes as `count`, the first of them being that of `clock`, are in the results.
#[track_caller]
pub fn minutes(sandbox: &Sandbox, count: usize) {
    eventually("the minutes' results", Duration::from_secs(60 * count as u64 + 10), || {
        (sandbox.results().of("_runner").len() >= count).then_some(())
    });
}

#[test]
fn starts_jobs_and_sends_their_words() {
    let folder = tempfile::tempdir().unwrap();
    let cron = Cron::start(&[("WHERE", folder.path())], "echo hello; echo $WHERE; date > $WHERE/ran");
    eventually("a job's mail", Duration::from_secs(70), || (cron.mails().len() == 1).then_some(()));
    let mail = cron.mails().remove(0);
    assert!(mail.ends_with(&format!("hello\n{}\n", folder.path().display())), "{mail}");
    assert!(folder.path().join("ran").exists());
}
