//! A file that is being written and has no place yet. Dropping it leaves nothing.

use std::fs::File;
use std::io::{self, Write};
use std::sync::Arc;

use rustix::fs::{self, AtFlags, Mode, OFlags, RenameFlags};
use rustix::io::Errno;
use uuid::Uuid;

#[cfg(target_os = "linux")]
use super::root::Naming;
use super::root::{Root, UPLOADS, Way, split};

/// The rights of a new object, less the process's umask.
const RIGHTS: Mode = Mode::from_raw_mode(0o666);

/// A file without a place.
pub(super) struct Temporary {
    root: Arc<Root>,
    file: File,
    /// Its name in [`UPLOADS`], if it had to have one and still has it.
    name: Option<String>,
}

/// What came of an attempt to give a file its place.
pub(super) enum Placing {
    /// It is visible at this path.
    Placed(String),
    /// Something stands at this path already.
    Taken(String),
}

impl Temporary {
    /// Creates an empty file.
    pub(super) fn create(root: Arc<Root>) -> io::Result<Self> {
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        #[cfg(target_os = "linux")]
        if root.nameless.is_some() {
            let file = File::from(fs::openat(root.handle(), ".", OFlags::TMPFILE | flags, RIGHTS)?);
            return Ok(Temporary { root, file, name: None });
        }
        let uploads = root.find_or_create(UPLOADS, &mut Way::default())?;
        if uploads.path != UPLOADS {
            return Err(Errno::NOTDIR.into());
        }
        let name = Uuid::new_v4().simple().to_string();
        let file =
            File::from(fs::openat(root.of(&uploads), &name, OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | flags, RIGHTS)?);
        Ok(Temporary { root, file, name: Some(name) })
    }

    /// Appends bytes.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)
    }

    /// Makes the file's own data durable, where one sync for all files does not do it.
    pub(super) fn sync(&self) -> io::Result<()> {
        if cfg!(target_os = "linux") { Ok(()) } else { self.file.sync_all() }
    }

    /// Makes the file visible at `path` unless something stands there. Directories are created.
    pub(super) fn place(&mut self, path: &str, way: &mut Way) -> io::Result<Placing> {
        let (directory, name) = split(path);
        let mut tries = 0;
        loop {
            let parent = self.root.find_or_create(directory, way)?;
            let used = if parent.path.is_empty() { name.to_string() } else { format!("{}/{name}", parent.path) };
            tries += 1;
            match self.link(&parent, name) {
                Ok(()) => return Ok(Placing::Placed(used)),
                Err(Errno::EXIST) => return Ok(Placing::Taken(used)),
                // The directory was removed under our hands: make it again, once.
                Err(Errno::NOENT) if tries == 1 => *way = Way::default(),
                Err(error) => return Err(error.into()),
            }
        }
    }

    #[cfg(target_os = "linux")]
    fn link(&mut self, parent: &super::root::Parent, name: &str) -> Result<(), Errno> {
        use std::os::fd::AsRawFd;
        if self.name.is_some() {
            return self.rename(parent, name);
        }
        if self.root.nameless == Some(Naming::ByHandle) {
            match fs::linkat(&self.file, "", self.root.of(parent), name, AtFlags::EMPTY_PATH) {
                // No directory, or no right to do it like this.
                Err(Errno::NOENT) => {}
                done => return done,
            }
        }
        let own = format!("/proc/self/fd/{}", self.file.as_raw_fd());
        fs::linkat(fs::CWD, own, self.root.of(parent), name, AtFlags::SYMLINK_FOLLOW)
    }

    #[cfg(not(target_os = "linux"))]
    fn link(&mut self, parent: &super::root::Parent, name: &str) -> Result<(), Errno> {
        let done = self.rename(parent, name);
        if done.is_ok() {
            let _ = fs::fsync(self.root.of(parent));
        }
        done
    }

    /// Renames without replacing, or links and unlinks where the file system cannot.
    fn rename(&mut self, parent: &super::root::Parent, name: &str) -> Result<(), Errno> {
        let Some(own) = self.name.as_deref() else { return Err(Errno::NOENT) };
        let uploads = self.root.find(UPLOADS).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
        let (from, to) = (self.root.of(&uploads), self.root.of(parent));
        match fs::renameat_with(from, own, to, name, RenameFlags::NOREPLACE) {
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
                fs::linkat(from, own, to, name, AtFlags::empty())?;
                let _ = fs::unlinkat(from, own, AtFlags::empty());
            }
            other => other?,
        }
        self.name = None;
        Ok(())
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Some(name) = self.name.take()
            && let Ok(uploads) = self.root.find(UPLOADS)
        {
            let _ = fs::unlinkat(self.root.of(&uploads), name, AtFlags::empty());
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::super::{LocalOptions, Owner, Unfinished};
    use super::*;

    /// Which way the system allows decides at opening; the others must do the same.
    #[test]
    fn a_file_gets_its_name_whichever_way_there_is() {
        let options = LocalOptions::new(Owner::Exclusive);
        let ways = [Some(Naming::ByHandle), Some(Naming::ByProc), None];
        for way in ways {
            let dir = tempfile::tempdir().unwrap();
            let mut root = Root::open(dir.path(), &LocalOptions { unfinished: Unfinished::Auto, ..options }).unwrap();
            // By handle falls back to the way through /proc where it is not allowed.
            if way.is_some() && root.nameless.is_none() {
                eprintln!("this file system has no nameless files");
                continue;
            }
            root.nameless = way;
            let root = Arc::new(root);
            let write = |path: &str, bytes: &[u8]| {
                let mut file = Temporary::create(root.clone()).unwrap();
                file.write(bytes).unwrap();
                matches!(file.place(path, &mut Way::default()).unwrap(), Placing::Placed(_))
            };
            assert!(write("a/b/x", b"one") && !write("a/b/x", b"two") && write("a/b/y", b"three"), "{way:?}");
            let read = |path: &str| std::fs::read(dir.path().join(path)).unwrap();
            assert_eq!((read("a/b/x"), read("a/b/y")), (b"one".to_vec(), b"three".to_vec()), "{way:?}");
        }
    }
}
