//! What is shown while a run goes on: a bar on a terminal, a plain line every few seconds elsewhere.

use std::io::IsTerminal;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::watch::Seen;

/// How often a plain line is written.
const EVERY: Duration = Duration::from_secs(5);

/// Shows progress on standard error.
pub(crate) struct Display {
    how: How,
    began: Instant,
}

enum How {
    Silent,
    Bar(ProgressBar),
    Lines(Mutex<Instant>),
}

impl Display {
    /// Shows a bar or lines, or nothing if it shall be silent.
    pub(crate) fn new(silent: bool) -> Self {
        let began = Instant::now();
        let how = if silent {
            How::Silent
        } else if std::io::stderr().is_terminal() {
            How::Bar(bar())
        } else {
            How::Lines(Mutex::new(began))
        };
        Display { how, began }
    }

    /// Shows what was seen.
    pub(crate) fn show(&self, seen: &Seen) {
        match &self.how {
            How::Silent => {}
            How::Bar(bar) => {
                let (done, total) = done_of(seen);
                bar.set_length(total.max(1));
                bar.set_position(done);
                bar.set_message(self.text(seen));
            }
            How::Lines(last) => {
                let mut last = last.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                if last.elapsed() >= EVERY {
                    *last = Instant::now();
                    let (done, total) = done_of(seen);
                    eprintln!("{done}/{total} {}", self.text(seen));
                }
            }
        }
    }

    /// Says something besides.
    pub(crate) fn say(&self, text: &str) {
        match &self.how {
            How::Silent => {}
            How::Bar(bar) => bar.println(text),
            How::Lines(_) => eprintln!("{text}"),
        }
    }

    /// Takes the bar away.
    pub(crate) fn clear(&self) {
        if let How::Bar(bar) = &self.how {
            bar.finish_and_clear();
        }
    }

    fn text(&self, seen: &Seen) -> String {
        let seconds = self.began.elapsed().as_secs_f64().max(0.001);
        let (done, total) = done_of(seen);
        let finished = seen.stored + seen.failed;
        let rate = finished as f64 / seconds;
        let left = match total.saturating_sub(done) {
            0 => String::new(),
            open if rate > 0.0 => format!(", {} left", spell(Duration::from_secs_f64((open as f64 / rate).min(1e7)))),
            _ => String::new(),
        };
        format!(
            "{rate:.0} files/s, {} ({}/s), {} retries, {} parked, {} failed, {} known{left}",
            HumanBytes(seen.bytes),
            HumanBytes((seen.bytes as f64 / seconds) as u64),
            HumanCount(seen.retries),
            HumanCount(seen.parked),
            HumanCount(seen.failed),
            HumanCount(seen.known),
        )
    }
}

/// Attachments that have ended, and those that will have to.
fn done_of(seen: &Seen) -> (u64, u64) {
    let done = seen.stored + seen.failed;
    (done, (done + seen.pending + seen.retrying).max(done))
}

fn spell(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

fn bar() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(1), ProgressDrawTarget::stderr_with_hz(5));
    let style = ProgressStyle::with_template("{bar:24} {human_pos}/{human_len} {wide_msg}");
    if let Ok(style) = style {
        bar.set_style(style.progress_chars("=> "));
    }
    bar
}
