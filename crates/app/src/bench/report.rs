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
    /// Where the files go [default: where the report is]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Print verdicts and conclusions as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &ReportArgs) -> Result<u8> {
    let report = report::read(&args.report)?;
    let told = Told::of(&report);
    let written = report::write(&report, args.out.as_deref().unwrap_or_else(|| home(&args.report)))?;
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

/// The directory of a report.
fn home(report: &Path) -> &Path {
    let parent = report.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if report.is_dir() { report } else { parent }
}
