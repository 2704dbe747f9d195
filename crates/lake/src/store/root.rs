//! The store's directory: opening what is below it without ever leaving it.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use longshore_stages::ports::StoreError;
use rustix::fs::{self, AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::error::{name_error, store_error};
use super::{LocalOptions, Owner, SyncMode, Unfinished};

/// Where unfinished files are kept that must have a name. Object paths cannot begin like this.
pub(super) const UPLOADS: &str = ".longshore-uploads";
/// What is added to a component that should be a directory and is something else.
const NOT_A_DIRECTORY: &str = "~dir";
/// How many times it is added.
const DIRECTORY_TRIES: usize = 8;

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// What a directory is opened with that is only passed through.
#[cfg(target_os = "linux")]
const PASSED: OFlags = DIRECTORY.union(OFlags::PATH);
#[cfg(not(target_os = "linux"))]
const PASSED: OFlags = DIRECTORY;

/// A directory below the root, and the path really taken to it.
#[derive(Clone)]
pub(super) struct Parent {
    handle: Option<Arc<OwnedFd>>,
    /// The path below the root; empty for the root itself.
    pub(super) path: String,
}

/// The directory where the way to the last one began, for the next one: files that come together mostly go to the same
/// place. Kept for a moment only, since whoever moves it away meanwhile takes along what is named in it.
#[derive(Default)]
pub(super) struct Way(Option<Parent>);

/// How a file without a name gets one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "other systems have no nameless files"))]
pub(super) enum Naming {
    /// Its handle is enough (Linux 6.10, or the capability `CAP_DAC_READ_SEARCH`).
    ByHandle,
    /// Through its link in `/proc`, which has to be looked up.
    ByProc,
}

/// The store's directory, held open.
pub(super) struct Root {
    path: PathBuf,
    handle: OwnedFd,
    /// How unfinished files that have no name can get one; nothing where they must have a name.
    pub(super) nameless: Option<Naming>,
    pub(super) sync: SyncMode,
    /// How many components of the last directory were there already: where the next one is looked for first.
    known_depth: AtomicUsize,
}

impl Root {
    /// Opens the directory; a writer creates it and finds out how unfinished files can be kept.
    pub(super) fn open(path: &Path, options: &LocalOptions) -> Result<Self, StoreError> {
        let failed = |error: &io::Error| store_error("open the object store", path, error);
        let writer = options.owner != Owner::Reader;
        if writer {
            std::fs::create_dir_all(path).map_err(|error| failed(&error))?;
        }
        // The root itself may be a link: it was named by the user.
        let handle =
            fs::open(path, DIRECTORY.difference(OFlags::NOFOLLOW), Mode::empty()).map_err(|error| failed(&error.into()))?;
        let mut root = Root {
            path: path.to_path_buf(),
            handle,
            nameless: None,
            sync: options.sync,
            known_depth: AtomicUsize::new(usize::MAX),
        };
        if writer {
            fs::accessat(&root.handle, ".", fs::Access::WRITE_OK | fs::Access::EXEC_OK, AtFlags::EACCESS)
                .map_err(|error| failed(&error.into()))?;
            if options.unfinished == Unfinished::Auto {
                root.nameless = root.naming();
            }
        }
        if options.owner == Owner::Exclusive {
            root.remove_leftovers().map_err(|error| failed(&error))?;
        }
        Ok(root)
    }

    /// The directory, as people wrote it.
    pub(super) fn shown(&self) -> std::path::Display<'_> {
        self.path.display()
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn handle(&self) -> BorrowedFd<'_> {
        self.handle.as_fd()
    }

    pub(super) fn error(&self, doing: &str, error: &io::Error) -> StoreError {
        store_error(doing, &self.path, error)
    }

    /// The error of giving a file its name, which may be the name's own.
    pub(super) fn name_error(&self, error: &io::Error) -> StoreError {
        name_error(&self.path, error)
    }

    /// The handle of a parent.
    pub(super) fn of<'a>(&'a self, parent: &'a Parent) -> BorrowedFd<'a> {
        parent.handle.as_deref().map_or(self.handle(), AsFd::as_fd)
    }

    /// Opens a directory below the root if it is there, following no link; an empty path is the root.
    pub(super) fn find(&self, path: &str) -> io::Result<Parent> {
        if path.is_empty() {
            return Ok(Parent { handle: None, path: String::new() });
        }
        match self.find_at_once(path) {
            Some(Ok(handle)) => return Ok(Parent { handle: Some(Arc::new(handle)), path: path.to_string() }),
            Some(Err(Errno::NOENT)) => return Err(Errno::NOENT.into()),
            // What is wrong, or whether anything is, the way through each component tells.
            Some(Err(_)) | None => {}
        }
        let mut parent: Option<OwnedFd> = None;
        for name in path.split('/').filter(|name| !matches!(*name, "" | "." | "..")) {
            let at = parent.as_ref().map_or(self.handle(), AsFd::as_fd);
            parent = Some(fs::openat(at, name, DIRECTORY, Mode::empty())?);
        }
        Ok(Parent { handle: parent.map(Arc::new), path: path.to_string() })
    }

    /// Opens a directory below the root and creates what is missing. Something else in its way makes it go to another
    /// name, see the module's header.
    pub(super) fn find_or_create(&self, path: &str, way: &mut Way) -> io::Result<Parent> {
        let there = first_components(path, self.known_depth.load(Relaxed));
        if let Some(begin) = way.0.as_ref().filter(|begin| begin.path == there)
            && let Ok(parent) = self.create(begin.clone(), &path[there.len()..])
        {
            return Ok(parent);
        }
        let (begin, rest) = self.nearest(path);
        *way = Way(Some(begin.clone()));
        self.create(begin, rest)
    }

    /// Opens what lies below a directory, and creates what is missing.
    fn create(&self, mut parent: Parent, rest: &str) -> io::Result<Parent> {
        let mut depth = components(&parent.path);
        for name in rest.split('/').filter(|name| !name.is_empty()) {
            let (handle, used, made) = enter(self.of(&parent), name)?;
            let path = if parent.path.is_empty() { used } else { format!("{}/{used}", parent.path) };
            depth += usize::from(made == Made::Before && depth == components(&parent.path));
            parent = Parent { handle: Some(Arc::new(handle)), path };
        }
        self.known_depth.store(depth, Relaxed);
        Ok(parent)
    }

    /// A directory that is there, and what of the path comes after it: mostly one or two components that are not, since each
    /// event has directories of its own. The root, where something else is in the way.
    fn nearest<'a>(&self, path: &'a str) -> (Parent, &'a str) {
        let mut there = first_components(path, self.known_depth.load(Relaxed));
        loop {
            match self.find(there) {
                Ok(parent) => return (parent, path[there.len()..].trim_start_matches('/')),
                Err(error) if error.kind() == io::ErrorKind::NotFound => there = split(there).0,
                Err(_) => return (Parent { handle: None, path: String::new() }, path),
            }
        }
    }

    /// One system call instead of one for each component, where the kernel has it (Linux 5.6, `openat2`).
    #[cfg(target_os = "linux")]
    fn find_at_once(&self, path: &str) -> Option<Result<OwnedFd, Errno>> {
        use rustix::fs::ResolveFlags;
        let inside = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        match fs::openat2(&self.handle, path, DIRECTORY, Mode::empty(), inside) {
            Err(Errno::NOSYS | Errno::PERM) => None,
            tried => Some(tried),
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn find_at_once(&self, _path: &str) -> Option<Result<OwnedFd, Errno>> {
        None
    }

    /// Opens a regular file for reading, following no link; anything else counts as not there.
    pub(super) fn open_file(&self, path: &str) -> io::Result<Option<(File, u64)>> {
        let (parent, name) = split(path);
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let opened = self.find(parent).and_then(|parent| Ok(fs::openat(self.of(&parent), name, flags, Mode::empty())?));
        let file = match opened {
            Ok(handle) => File::from(handle),
            Err(error) if is_absent(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        let meta = file.metadata()?;
        Ok(meta.is_file().then_some((file, meta.len())))
    }

    /// Makes everything written so far below the root durable, data and names alike.
    #[cfg(target_os = "linux")]
    pub(super) fn sync_all(&self) -> io::Result<()> {
        Ok(fs::syncfs(&self.handle)?)
    }

    /// Elsewhere than on Linux one sync for all does not wait for the disk: see `Publisher`, which syncs file by file.
    #[cfg(not(target_os = "linux"))]
    pub(super) fn sync_all(&self) -> io::Result<()> {
        Ok(())
    }

    #[cfg(target_os = "linux")]
    fn naming(&self) -> Option<Naming> {
        use std::os::fd::AsRawFd;
        let file = fs::openat(&self.handle, ".", OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC, Mode::RUSR).ok()?;
        // A name that cannot be given: whether the handle would have done is said before.
        if fs::linkat(&file, "", &self.handle, ".", AtFlags::EMPTY_PATH) == Err(Errno::EXIST) {
            return Some(Naming::ByHandle);
        }
        fs::stat(format!("/proc/self/fd/{}", file.as_raw_fd())).ok().map(|_| Naming::ByProc)
    }

    #[cfg(not(target_os = "linux"))]
    fn naming(&self) -> Option<Naming> {
        None
    }

    /// Removes the unfinished files of writers that are gone, and their directory.
    fn remove_leftovers(&self) -> io::Result<()> {
        let uploads = match self.find(UPLOADS) {
            Ok(uploads) => uploads,
            Err(error) if is_absent(&error) => return Ok(()),
            Err(error) => return Err(error),
        };
        for entry in fs::Dir::read_from(self.of(&uploads))? {
            let entry = entry?;
            let stat = fs::statat(self.of(&uploads), entry.file_name(), AtFlags::SYMLINK_NOFOLLOW)?;
            if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile {
                fs::unlinkat(self.of(&uploads), entry.file_name(), AtFlags::empty())?;
            }
        }
        // What is not ours stays, and with it the directory.
        let _ = fs::unlinkat(&self.handle, UPLOADS, AtFlags::REMOVEDIR);
        Ok(())
    }
}

/// The directory and the name of a path.
pub(super) fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

/// Whether an error says that nothing of ours is there: nothing at all, or a link or file where a directory should be.
pub(super) fn is_absent(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NAMETOOLONG | Errno::NXIO))
}

fn components(path: &str) -> usize {
    path.split('/').filter(|name| !name.is_empty()).count()
}

/// The beginning of a path, at most so many components of it.
fn first_components(path: &str, count: usize) -> &str {
    if count == 0 {
        return "";
    }
    path.match_indices('/').nth(count - 1).map_or(path, |(end, _)| &path[..end])
}

/// Whether a directory was there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Made {
    Before,
    Now,
}

/// Opens the directory `name`, creating it if need be, or the first of its substitutes that is one.
fn enter(at: BorrowedFd<'_>, name: &str) -> io::Result<(OwnedFd, String, Made)> {
    let mut name = name.to_string();
    for _ in 0..DIRECTORY_TRIES {
        match open_or_create(at, &name) {
            Ok((handle, made)) => return Ok((handle, name, made)),
            Err(Errno::NOTDIR | Errno::LOOP) => name.push_str(NOT_A_DIRECTORY),
            Err(error) => return Err(error.into()),
        }
    }
    Err(Errno::NOTDIR.into())
}

fn open_or_create(at: BorrowedFd<'_>, name: &str) -> Result<(OwnedFd, Made), Errno> {
    // Mostly it is not there.
    let made = match fs::mkdirat(at, name, Mode::from_raw_mode(0o777)) {
        Ok(()) => Made::Now,
        Err(Errno::EXIST) => Made::Before,
        Err(error) => return Err(error),
    };
    Ok((fs::openat(at, name, PASSED, Mode::empty())?, made))
}
