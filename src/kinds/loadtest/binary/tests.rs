//! What a type says of its program, and programs on this server. Those that are fetched are in tests/it.

use std::fs::{self, Permissions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use super::*;
use crate::keys::Source;

const OURS: &str = include_str!("../../../../tests/data/minisign/ours.pub");

/// A folder with a program and its signature, and what is none.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/minisign");
    let put = |name: &str, mode| fs::set_permissions(folder.path().join(name), Permissions::from_mode(mode)).unwrap();
    for (file, name) in [("program", "program"), ("ours.minisig", "program.minisig"), ("program", "text")] {
        fs::copy(data.join(file), folder.path().join(name)).unwrap();
        put(name, if name == "program" { 0o755 } else { 0o644 });
    }
    fs::copy(data.join("program"), folder.path().join("writable")).unwrap();
    put("writable", 0o757);
    folder
}

fn read(folder: &TempDir, text: &str) -> Result<Binary, Vec<String>> {
    let file = folder.path().join("x.toml");
    let source = Source { file: &file, text, quotes_values: false, now: "", now_unknown: "" };
    let (binary, faults) = source.read(Binary::read);
    assert_eq!(binary.as_ref().is_some_and(Option::is_some), faults.is_empty(), "{text}: {faults:?}");
    binary.flatten().ok_or(faults.iter().map(|fault| format!("{}: {}", fault.seen, fault.right)).collect())
}

fn get_now(binary: &Binary, key: Option<&PublicKey>) -> Result<Executable, String> {
    let until = Instant::now() + Duration::from_secs(60);
    get(binary, Path::new("/nonexistent"), key, until, &|| false).map_err(|error| format!("{error:#}"))
}

fn digest() -> String {
    Sha256::of(include_str!("../../../../tests/data/minisign/program")).to_string()
}

#[test]
fn a_path_or_an_https_url_with_its_hash() {
    let folder = folder();
    let path = folder.path().join("program");
    assert_eq!(read(&folder, "binary = \"program\""), Ok(Binary::File { path: path.clone(), sha256: None }));
    let sha256 = Sha256::parse(&digest());
    let text = format!("binary = \"{}\"\nsha256 = \"{}\"", path.display(), digest());
    assert_eq!(read(&folder, &text), Ok(Binary::File { path, sha256 }));
    let url = format!("binary = \"https://me:secret@host/p?secret\"\nsha256 = \"{}\"", digest());
    let binary = read(&folder, &url).unwrap();
    assert_eq!(binary.to_string(), "https://host/p");
    assert!(!format!("{binary:?}").contains("secret"), "{binary:?}");
    let Binary::Download(download) = &binary else { panic!("{binary:?}") };
    assert_eq!(download.max_size, 64 << 20);
    assert_eq!(read(&folder, &format!("{url}\nmax_size = \"64MiB\"")), Ok(binary));
}

#[test]
fn what_is_wrong_is_told() {
    let folder = folder();
    let sha256 = format!("sha256 = \"{}\"", digest());
    let check = |text: &str, expect: &str| {
        let faults = read(&folder, text).unwrap_err();
        assert!(faults.len() == 1 && faults[0].contains(expect), "{text}: {faults:?}");
    };
    check("", "no key \"binary\"");
    check("binary = 7", "the path of a program, or the URL");
    check("binary = \"\"", "the path of a program, or the URL");
    check("binary = \"none\"", "the program that \"binary\" names does not exist: a program was expected there");
    check("binary = \".\"", "is a folder");
    check("binary = \"text\"", "cannot be executed: it must be executable by the user");
    check("binary = \"writable\"", "may be written by others");
    check("binary = \"program\"\nmax_size = \"1MiB\"", "\"max_size\" with the path of a file: it goes with a URL");
    check("binary = \"program\"\nsha256 = \"abc\"", "64 hexadecimal digits");
    check(&format!("binary = \"http://host/p\"\n{sha256}"), "\"binary\" can't be this URL: https://, as with http://");
    check(&format!("binary = \"https://host/p#x\"\n{sha256}"), "without fragment");
    check(&format!("binary = \"file:///bin/sh\"\n{sha256}"), "a URL as in");
    check("binary = \"https://host/p\"", "no key \"sha256\": with a URL it can't be left out");
    check("binary = \"https://host/p\"\nsha256 = \"\"", "64 hexadecimal digits");
    let url = format!("binary = \"https://host/p\"\n{sha256}");
    check(&format!("{url}\nmax_size = 1023"), "less than 1024 bytes");
    check(&format!("{url}\nmax_size = \"2GiB\""), "up to 1GiB");
    check(&format!("{url}\nca_file = \"text\""), "a file without a certificate");
}

#[test]
fn a_plain_file_is_executed_by_its_path_and_a_checked_one_from_memory() {
    let folder = folder();
    let path = folder.path().join("program");
    let plain = read(&folder, "binary = \"program\"").unwrap();
    assert!(matches!(get_now(&plain, None).unwrap(), Executable::File(file) if file == path));
    let key = PublicKey::parse(OURS.trim_end()).unwrap();
    let named = read(&folder, &format!("binary = \"program\"\nsha256 = \"{}\"", digest())).unwrap();
    for (binary, key) in [(&plain, Some(&key)), (&named, None), (&named, Some(&key))] {
        let Executable::Sealed(fd, name) = get_now(binary, key).unwrap() else { panic!("{binary:?}") };
        assert_eq!(name, "program");
        // Whatever becomes of the file.
        fs::write(&path, "#!/bin/sh\necho another\n").unwrap();
        let run = Command::new(format!("/proc/{}/fd/{}", std::process::id(), fd.as_raw_fd())).output().unwrap();
        assert_eq!(String::from_utf8(run.stdout).unwrap(), "from a sealed file\n");
        fs::write(&path, include_str!("../../../../tests/data/minisign/program")).unwrap();
    }
}

#[test]
fn a_file_that_is_another_or_not_signed_is_not_executed() {
    let folder = folder();
    let key = PublicKey::parse(OURS.trim_end()).unwrap();
    let plain = read(&folder, "binary = \"program\"").unwrap();
    let named = read(&folder, &format!("binary = \"program\"\nsha256 = \"{}\"", digest())).unwrap();
    let refused = |binary: &Binary, key: Option<&PublicKey>, expect: &str| {
        let error = get_now(binary, key).unwrap_err();
        assert!(error.contains("program is not executed: ") && error.contains(expect), "{error}");
    };
    refused(&plain, Some(&PublicKey::OF_NOBODY), "can't be read");
    fs::write(folder.path().join("program"), "#!/bin/sh\n").unwrap();
    let found = Sha256::of("#!/bin/sh\n");
    refused(&named, None, &format!("its SHA-256 is {found}, and \"sha256\" says {}", digest()));
    refused(&plain, Some(&key), "its signature is not of this program");
    fs::remove_file(folder.path().join("program.minisig")).unwrap();
    refused(&plain, Some(&key), "program.minisig, does not exist");
    fs::write(folder.path().join("program.minisig"), [b'x'; 5000]).unwrap();
    refused(&plain, Some(&key), "is larger than 4096 bytes");
    fs::remove_file(folder.path().join("program")).unwrap();
    refused(&named, None, "it does not exist");
}
