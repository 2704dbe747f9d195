//! Bad surroundings: each is said with its remedy, and once it is mended the same command finishes with nothing lost.
//!
//! Mounts are made in a namespace of their own, which ends with the test. Where the system does not permit that, what
//! needs none stands for them: limits on the size of files, in every such test, and a directory without rights. It is
//! said where even a test that passes is heard.

#![allow(clippy::unwrap_used)]

mod batch;

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use batch::{Batch, FLAGS, Finished, finish};
use longshore::demo::origin::{Options, Origin};

/// Files of up to 300 KB: enough to fill something small.
fn large() -> Origin {
    Origin::start(Options::default()).unwrap()
}

fn urls(origin: &Origin, count: usize) -> Vec<String> {
    (0..count).map(|n| origin.url(&format!("/good/{n}.pdf"))).collect()
}

/// A shell with the binary as `longshore`, the lake as `$LAKE`, and `run LIST`, which fetches, says `code N` and keeps
/// what was said on standard error.
fn shell(batch: &Batch, around: &[&str], script: &str) -> Finished {
    let flags = FLAGS.join(" ");
    let head = "run() { $longshore fetch \"$1\" --to \"$LAKE\" --quiet $FLAGS; echo \"code $?\"; }\nset -u\n";
    let program = [around, &["sh", "-c"]].concat();
    let mut command = Command::new(program[0]);
    command.args(&program[1..]).arg(format!("{head}{script}"));
    command.env("longshore", env!("CARGO_BIN_EXE_longshore")).env("LAKE", &batch.to).env("FLAGS", flags);
    command
        .env_remove("LONGSHORE_TRACING")
        .env_remove("LONGSHORE_TRACING_FORMAT")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    finish(command)
}

/// A namespace in which this process may mount, if the system lets us have one.
fn may_mount() -> bool {
    let mut command = Command::new("unshare");
    command.args(["-rm", "sh", "-c", "mount -t tmpfs -o size=64k tmpfs /tmp"]);
    let permitted = command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success());
    if !permitted {
        // Not by `eprintln!`, which is heard only where a test fails.
        let _ =
            std::io::stderr().write_all(b"NOTICE: mounting is not permitted here: the tests without mounts stand for this one\n");
    }
    permitted
}

fn codes(finished: &Finished) -> Vec<&str> {
    finished.stdout.lines().filter_map(|line| line.strip_prefix("code ")).collect()
}

/// All URLs are stored, and nothing else is to be said.
fn complete(batch: &Batch, urls: &[String]) {
    let inventory = batch.inventory();
    let stored = inventory.exact().0;
    assert_eq!(stored.keys().copied().collect::<Vec<_>>(), sorted(urls));
    inventory.objects_are_as_said(&batch.to);
    batch.reconcile();
}

fn sorted(urls: &[String]) -> Vec<&str> {
    let mut urls: Vec<_> = urls.iter().map(String::as_str).collect();
    urls.sort_unstable();
    urls
}

#[test]
fn a_full_disk() {
    if !may_mount() {
        return;
    }
    // So small that nothing can be opened, that the log has no room, that the files have none.
    for size in ["64k", "400k", "1200k"] {
        let (origin, mut batch) = (large(), Batch::new());
        let urls = urls(&origin, 60);
        let list = batch.list("urls.txt", &urls);
        let kept = batch.root.path().join("kept");
        let script = format!(
            "mkdir $LAKE && mount -t tmpfs -o size={size} tmpfs $LAKE || exit 9\n\
             run {list}\nrun {list}\nmount -o remount,size=100m $LAKE || exit 9\nrun {list}\ncp -a $LAKE {}",
            kept.display()
        );
        let finished = shell(&batch, &["unshare", "-rm"], &script);
        assert_eq!(codes(&finished), ["1", "1", "0"], "{size}: {finished:?}");
        let told = finished.stderr.to_lowercase();
        assert!(told.contains("space") && told.contains("lake"), "{size}: the cause and the remedy: {finished:?}");
        batch.to = kept;
        complete(&batch, &urls);
    }
}

#[test]
fn a_limit_on_the_size_of_files() {
    // In blocks of 512 bytes: so small that no log can be made, that it has no room, that the files have none.
    for blocks in [16, 100, 300] {
        let (origin, batch) = (large(), Batch::new());
        let urls = urls(&origin, 40);
        let list = batch.list("urls.txt", &urls);
        let largest = urls.iter().enumerate().map(|(n, _)| origin.file(&format!("/good/{n}.pdf")).len()).max().unwrap();
        assert!(largest > 200_000, "no file is larger than the limit");
        let finished = shell(&batch, &[], &format!("trap '' XFSZ; ulimit -f {blocks}; run {list}; run {list}"));
        assert_eq!(codes(&finished), ["1", "1"], "{blocks}: {finished:?}");
        let told = finished.stderr.contains("ulimit -f") || finished.stderr.contains("space");
        assert!(told && finished.stderr.contains("lake"), "{blocks}: the cause and the remedy: {finished:?}");
        assert_eq!(batch.fetch(&[&list]).code, Some(0), "{blocks}");
        complete(&batch, &urls);
    }
}

#[test]
fn a_target_that_is_mounted_read_only() {
    if !may_mount() {
        return;
    }
    let (origin, batch) = (batch::origin(), Batch::new());
    let urls = urls(&origin, 20);
    let (some, all) = (batch.list("some.txt", &urls[..10]), batch.list("all.txt", &urls));
    let script = format!(
        "run {some}\nmount --bind $LAKE $LAKE && mount -o remount,ro,bind $LAKE || exit 9\nrun {all}\n\
         umount $LAKE || exit 9\nrun {all}"
    );
    let finished = shell(&batch, &["unshare", "-rm"], &script);
    assert_eq!(codes(&finished), ["0", "1", "0"], "{finished:?}");
    let told = finished.stderr.to_lowercase();
    assert!(
        told.contains("read-only") && (told.contains("for writing") || told.contains("writable")),
        "the cause and the remedy: {finished:?}"
    );
    complete(&batch, &urls);
}

#[test]
fn a_target_without_the_right_to_write() {
    let (origin, batch) = (batch::origin(), Batch::new());
    let urls = urls(&origin, 10);
    let list = batch.list("urls.txt", &urls);
    std::fs::create_dir(&batch.to).unwrap();
    for (path, mode) in [(batch.root.path(), 0o755), (&batch.to, 0o555)] {
        std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    }
    let mut command = batch.command(&[&list]);
    if rustix::process::getuid().is_root() {
        // Rights do not bind root: nobody tries, with a copy of the program that nobody can reach.
        let copy = batch.root.path().join("longshore");
        std::fs::copy(command.get_program(), &copy).unwrap();
        let mut by_nobody = std::process::Command::new(copy);
        by_nobody.args(command.get_args()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        by_nobody.uid(65_534).gid(65_534);
        command = by_nobody;
    }
    let finished = finish(command);
    assert_eq!(finished.code, Some(1), "{finished:?}");
    let told = finished.stderr.to_lowercase();
    assert!(told.contains("permission denied") && told.contains("lake") && told.contains("owner and mode"), "{finished:?}");
    std::fs::set_permissions(&batch.to, PermissionsExt::from_mode(0o755)).unwrap();
    assert_eq!(batch.fetch(&[&list]).code, Some(0));
    complete(&batch, &urls);
}

/// A Delta table of somebody else.
const FOREIGN_LOG: &str = concat!(
    r#"{"protocol":{"minReaderVersion":1,"minWriterVersion":2}}"#,
    "\n",
    r#"{"metaData":{"id":"6d3a8f0e-0000-4000-8000-000000000000","format":{"provider":"parquet","options":{}},"#,
    r#""schemaString":"{\"type\":\"struct\",\"fields\":[{\"name\":\"price\",\"type\":\"double\",\"nullable\":true,"#,
    r#"\"metadata\":{}}]}","partitionColumns":[],"configuration":{},"createdTime":0}}"#,
    "\n"
);

fn write(path: &Path, content: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, content).unwrap();
}

#[test]
fn something_else_where_ours_should_be() {
    let origin = batch::origin();
    let urls = urls(&origin, 5);
    let table = "tables/urls_attachments";
    for (name, at, content) in [
        ("a table of somebody else", format!("{table}/_delta_log/00000000000000000000.json"), FOREIGN_LOG),
        ("a Parquet file without a table", format!("{table}/part-0.parquet"), "PAR1 and so on PAR1"),
        ("a file where a table should be", table.to_owned(), "notes"),
        ("a file where the tables should be", "tables".to_owned(), "notes"),
        ("a file where the files should be", "files".to_owned(), "notes"),
        ("a file where the state should be", ".longshore".to_owned(), "notes"),
        ("a log that is none", ".longshore/log.db".to_owned(), "this is no database, and longer than its header would be"),
    ] {
        let batch = Batch::new();
        let list = batch.list("urls.txt", &urls);
        write(&batch.to.join(&at), content);
        let finished = batch.fetch(&[&list]);
        assert_eq!(finished.code, Some(1), "{name}: {finished:?}");
        let top = at.split("/_delta_log").next().unwrap().trim_end_matches("/part-0.parquet");
        let shown = batch.to.join(top).display().to_string();
        assert!(finished.stderr.contains(&shown), "{name}: {shown} is not named: {finished:?}");
        eprintln!("{name}: {}", finished.stderr.trim());
        assert_eq!(std::fs::read_to_string(batch.to.join(&at)).unwrap(), content, "{name}: it was changed");
        std::fs::rename(batch.to.join(top), batch.root.path().join("elsewhere")).unwrap();
        assert_eq!(batch.fetch(&[&list]).code, Some(0), "{name}");
        complete(&batch, &urls);
    }
    let batch = Batch::new();
    let list = batch.list("urls.txt", &urls);
    write(&batch.to, "a file where the directory should be");
    let finished = batch.fetch(&[&list]);
    assert_eq!(finished.code, Some(1), "{finished:?}");
    assert!(finished.stderr.contains(&batch.to.display().to_string()), "{finished:?}");
}
