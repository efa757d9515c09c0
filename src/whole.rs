//! Files that are on disk whole, or not at all, whatever ends the program, or the machine.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::fcntl::OFlag;

/// Writes a file as `partial`, of which nothing is left, and renames it to `path`, in the same folder: there is what was
/// there before, or all of `bytes`. The folder isn't synced.
///
/// # Errors
/// When it can't be written, or `partial` is a link.
pub fn write(path: &Path, partial: &Path, bytes: &[u8]) -> io::Result<()> {
    let flags = (OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK).bits();
    let mut options = OpenOptions::new();
    let file = options.create(true).truncate(true).write(true).mode(0o600).custom_flags(flags).open(partial);
    let written = file.and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    written.and_then(|()| fs::rename(partial, path)).inspect_err(|_| {
        let _ = fs::remove_file(partial);
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn there_is_all_of_it_or_what_was_there() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let [path, partial, other] = ["whole", "partial", "other"].map(|name| folder.path().join(name));
        write(&path, &partial, b"one").expect("it writes");
        let mode = path.metadata().expect("it is there").permissions().mode();
        assert_eq!((fs::read(&path).expect("it reads"), mode & 0o777), (b"one".to_vec(), 0o600));
        symlink(&other, &partial).expect("it links");
        write(&path, &partial, b"two").expect_err("it follows no link");
        assert_eq!(fs::read(&path).expect("it reads"), b"one");
        write(&path, &partial, b"three").expect("the link has gone");
        assert_eq!(fs::read(&path).expect("it reads"), b"three");
        assert!(!partial.exists() && !other.exists());
        // Over a folder nothing is renamed.
        fs::create_dir(&other).expect("it makes a folder");
        write(&other, &partial, b"four").expect_err("it is a folder");
        assert!(!partial.exists());
    }
}
