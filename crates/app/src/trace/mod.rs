//! `longshore trace`: one event or one attachment through every stage.
//!
//! The log is read from where its groups stand on, and the dead letters from their beginning; upstream to downstream,
//! so that what moves on meanwhile is met again. The tables are asked by their Bloom filters where the id is a
//! `trace_id` or a `media_id`; for other ids the id columns of the events table are read.
//! What is in memory is one batch, and at most `MOST` findings.

mod look;
mod rows;
mod show;
mod story;
mod wanted;

use anyhow::{Context, Result};
use clap::Args;
use longshore_stages::ports::LogView;

use crate::cli::PlaceArgs;
use crate::exit;
use crate::originals;
use crate::place::Place;
use crate::render;
use look::Looker;
use story::{MOST, Story};
use wanted::Wanted;

/// `longshore trace`
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  longshore trace 6d7ab70c-874d-5ff2-8698-454e7a9d3e4d --to ./lake\n  \
                        longshore trace --url https://example.com/a.pdf --to ./lake --json\n\n\
                        It reads what is unfinished in the log, all dead letters, and the tables: of a trace_id or media_id only\n\
                        the parts that may hold it, for other ids the id columns of the whole events table.\n\n\
                        Exit codes: 0 found; 1 failed; 2 wrong usage; 3 found nowhere.")]
pub struct TraceArgs {
    /// A trace_id, event_id, media_id or event_key
    #[arg(required_unless_present = "url", conflicts_with = "url")]
    pub id: Option<String>,
    /// Follow the attachment with this URL, however it is signed
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// The directory.
    #[command(flatten)]
    pub place: PlaceArgs,
}

pub(crate) async fn run(args: TraceArgs) -> Result<u8> {
    let mut wanted = Wanted::of(args.id.as_deref(), args.url.as_deref()).context(exit::Usage)?;
    let place = Place::named(&args.place)?;
    let view = place.log_view()?;
    let story = follow(&place, view.as_ref(), &mut wanted).await?;
    if args.place.json {
        render::print_json(&show::as_json(&wanted, &story))?;
    } else if story.is_empty() {
        eprintln!("{} is in no topic and no table of {}", wanted.shown(), place.root.display());
    } else {
        render::print(show::as_text(&wanted, &story))?;
    }
    Ok(if story.is_empty() { exit::FOUND } else { exit::DONE })
}

async fn follow(place: &Place, view: &dyn LogView, wanted: &mut Wanted) -> Result<Story> {
    let (mut story, store) = (Story::default(), originals::objects(place)?);
    for lane in &place.lanes {
        Looker { place, view, store: store.as_deref(), lane, wanted: &mut *wanted, story: &mut story }.look().await?;
    }
    story.arrange();
    Ok(story)
}
