//! The other side of a comparison: a program that is there, or a revision of git that is built.
//!
//! *Owns*: a work tree of that revision, below the comparison's directory, which is removed again however this ends.
//! *Does not own*: the user's own work tree and build: neither is touched.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, anyhow, bail};
use tokio::process::Command;
use tokio_util::sync::CancellationToken;

use crate::exit;
use crate::voice::Voice;

/// Finds the program that is named, or builds it; says what it does.
pub(super) async fn program(
    named: &str,
    out: &Path,
    target: Option<&Path>,
    voice: Voice,
    stop: &CancellationToken,
) -> Result<PathBuf> {
    let path = Path::new(named);
    if path.is_file() {
        return path.canonicalize().with_context(|| path.display().to_string());
    }
    if cfg!(debug_assertions) && std::env::var_os(DEBUG_IS_FINE).is_none() {
        let wrong =
            anyhow!("this is a debug build, and {named} would be a release build: run `cargo run --release -- bench compare …`");
        return Err(wrong.context(exit::Usage));
    }
    let revision = Revision::of(named).await?;
    tokio::select! {
        built = revision.built(out, target, voice) => built,
        () = stop.cancelled() => bail!("stopped while {named} was built"),
    }
}

/// For tests of the suite: builds of the other side are not measured against.
const DEBUG_IS_FINE: &str = "LONGSHORE_BENCH_DEBUG_IS_FINE";

/// What `PROGRAM --version` says.
pub(super) async fn version(program: &Path) -> Result<String> {
    let output = Command::new(program).arg("--version").stdin(Stdio::null()).kill_on_drop(true).output().await;
    let output = output.with_context(|| format!("cannot run {}", program.display()))?;
    let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let version = said.strip_prefix("longshore ").filter(|_| output.status.success());
    version.map(str::to_owned).ok_or_else(|| anyhow!("{} is no longshore: it says {said:?}", program.display()))
}

/// A commit of the repository that the user is in.
struct Revision {
    repository: PathBuf,
    commit: String,
}

impl Revision {
    async fn of(named: &str) -> Result<Self> {
        let here = super::here()?;
        let repository = git(&here, ["rev-parse", "--show-toplevel"]).await;
        let repository =
            repository.with_context(|| format!("{named} is no file, and there is no repository of git here to find it in"))?;
        let wanted = format!("{named}^{{commit}}");
        let commit = git(&here, ["rev-parse", "--verify", "--end-of-options", &wanted]).await;
        let commit =
            commit.with_context(|| format!("{named} is no file, and no revision of {repository}")).context(exit::Usage)?;
        Ok(Self { repository: repository.into(), commit })
    }

    /// Builds it for release, and keeps the program only.
    async fn built(&self, out: &Path, target: Option<&Path>, voice: Voice) -> Result<PathBuf> {
        let tree = Tree::add(&self.repository, out.join("other"), &self.commit).await?;
        let built_in = target.map_or_else(|| tree.path.join("target"), Path::to_owned);
        voice.say(&format!("Building {} for release; the first time takes ten minutes or more", self.commit));
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.args(["build", "--release", "--locked", "--bin", "longshore"]).current_dir(&tree.path);
        let built = cargo.env("CARGO_TARGET_DIR", &built_in).stdin(Stdio::null()).kill_on_drop(true).status().await;
        if !built.context("cannot run cargo")?.success() {
            bail!("{} does not build; what cargo said is above", self.commit);
        }
        let program = out.join("longshore-other");
        let made = built_in.join("release/longshore");
        std::fs::copy(&made, &program).with_context(|| format!("cannot copy {}", made.display()))?;
        Ok(program)
    }
}

/// A work tree that is removed when this is dropped.
struct Tree {
    repository: PathBuf,
    path: PathBuf,
}

impl Tree {
    async fn add(repository: &Path, path: PathBuf, commit: &str) -> Result<Self> {
        let words = [OsStr::new("worktree"), "add".as_ref(), "--detach".as_ref(), path.as_os_str(), commit.as_ref()];
        let tree = Self { repository: repository.to_owned(), path: path.clone() };
        git(repository, words).await.with_context(|| format!("cannot lay out {commit}"))?;
        Ok(tree)
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        let mut git = std::process::Command::new("git");
        git.arg("-C").arg(&self.repository).args(["worktree", "remove", "--force"]).arg(&self.path);
        let removed = git.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
        if !removed.is_ok_and(|status| status.success()) {
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}

/// Asks git, and returns the line that it says.
async fn git<S: AsRef<OsStr>>(directory: &Path, words: impl IntoIterator<Item = S>) -> Result<String> {
    let mut git = Command::new("git");
    git.arg("-C").arg(directory).args(words).stdin(Stdio::null()).kill_on_drop(true);
    let output = git.output().await.context("cannot run git")?;
    if !output.status.success() {
        bail!("git: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
