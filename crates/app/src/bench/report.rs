//! `longshore bench report`: the files of a report once more, and its verdicts on the terminal.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use longshore_bench::report::{self, Told};

use super::show;
use crate::render;

/// `longshore bench report`
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Examples:\n  longshore bench report ./bench\n  longshore bench report old/report.json --out ./again --json\n\n\
                        Exit codes: 0 the verdict is PASS or WARN; 1 failed; 2 wrong usage; 3 the verdict is FAIL or INCONCLUSIVE."
)]
pub(super) struct ReportArgs {
    /// The `report.json` of a run, or its directory
    #[arg(value_name = "REPORT")]
    report: PathBuf,
    /// Where the files go [default: where the report is; of NAME.json the directory NAME beside it]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Print verdicts and conclusions as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &ReportArgs) -> Result<u8> {
    let report = report::read(&args.report)?;
    let told = Told::of(&report);
    let written = report::write(&report, &args.out.clone().unwrap_or_else(|| home(&args.report)))?;
    if args.json {
        let mut found = show::as_json(&told)?;
        found["files"] = written.iter().map(|path| path.display().to_string()).collect();
        render::print_json(&found)?;
    } else {
        let files: Vec<String> = written.iter().map(|path| format!("  {}", path.display())).collect();
        render::print(format!("{}\n\nWritten:\n{}", show::table(&told), files.join("\n")))?;
    }
    Ok(show::code(&report))
}

/// Where a report is at home: its directory; of one that was given a name, a directory of that name beside it, since another
/// report may have the files beside it.
fn home(report: &Path) -> PathBuf {
    if report.is_dir() {
        return report.to_owned();
    }
    let parent = report.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match report.file_stem() {
        Some(name) if name != "report" => parent.join(name),
        _ => parent.to_owned(),
    }
}
