//! What an error of the operating system means to the caller: come back later, or fetch a person.
//!
//! Messages name the store's directory, not the object: file names name people.

use std::io;
use std::path::Path;

use longshore_stages::ports::StoreError;
use rustix::io::Errno;

/// The error of `doing` something below `root`, with its remedy where only a person can mend it.
pub(super) fn store_error(doing: &str, root: &Path, error: &io::Error) -> StoreError {
    let shown = root.display();
    match remedy(error) {
        Some(remedy) => {
            let remedy = remedy.replace("{}", &shown.to_string());
            StoreError::Fatal(format!(
                "cannot {doing} in {shown}: {error}; {remedy} and run the same command again: it goes on where it stopped"
            ))
        }
        None => StoreError::Unavailable(format!("cannot {doing} in {shown}: {error}")),
    }
}

/// The error of giving an object its name. What the file system says of the name itself (`:` on exFAT, say, or a name
/// that is too long) will not be said of the next one.
pub(super) fn name_error(root: &Path, error: &io::Error) -> StoreError {
    match Errno::from_io_error(error) {
        Some(Errno::INVAL | Errno::ILSEQ | Errno::NAMETOOLONG) => StoreError::Name(format!(
            "the file system of {} takes no file of this name: {error}; give objects other paths, or keep them elsewhere",
            root.display()
        )),
        _ => store_error("name a complete file", root, error),
    }
}

fn remedy(error: &io::Error) -> Option<&'static str> {
    Some(match Errno::from_io_error(error)? {
        Errno::NOSPC | Errno::DQUOT => "free space on the disk of {} (or raise the quota)",
        Errno::ROFS => "mount the file system of {} writable, or choose another directory,",
        Errno::ACCESS | Errno::PERM => "give this user the right to read and write {}",
        Errno::MFILE | Errno::NFILE => "raise the limit on open files (ulimit -n)",
        Errno::FBIG => "raise the limit on the size of files (ulimit -f, or the file system's own at {})",
        Errno::IO => "check the disk of {}",
        Errno::NOTDIR | Errno::EXIST => "make {} a directory, or choose another,",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(errno: Errno) -> StoreError {
        store_error("write a file", Path::new("/lake"), &errno.into())
    }

    #[test]
    fn a_name_that_cannot_be_is_the_names_fault_alone() {
        for errno in [Errno::INVAL, Errno::ILSEQ, Errno::NAMETOOLONG] {
            let error = name_error(Path::new("/lake"), &errno.into());
            assert!(matches!(&error, StoreError::Name(message) if message.contains("/lake")), "{error:?}");
        }
        assert!(matches!(name_error(Path::new("/lake"), &Errno::NOSPC.into()), StoreError::Fatal(_)));
        assert!(matches!(name_error(Path::new("/lake"), &Errno::AGAIN.into()), StoreError::Unavailable(_)));
    }

    #[test]
    fn what_only_a_person_can_mend_is_fatal_and_says_how() {
        for (errno, remedy) in [
            (Errno::NOSPC, "free space"),
            (Errno::DQUOT, "quota"),
            (Errno::ROFS, "writable"),
            (Errno::ACCESS, "right"),
            (Errno::PERM, "right"),
            (Errno::MFILE, "ulimit -n"),
            (Errno::FBIG, "size of files"),
            (Errno::IO, "check the disk"),
        ] {
            let StoreError::Fatal(message) = of(errno) else { panic!("{errno} is fatal") };
            assert!(
                message.contains(remedy) && message.contains("/lake") && message.contains("goes on where it stopped"),
                "{message}"
            );
        }
        assert!(matches!(of(Errno::AGAIN), StoreError::Unavailable(_)));
    }
}
