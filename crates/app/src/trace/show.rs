//! The story for people and for programs.

use longshore_core::time;
use serde_json::{Value, json};

use super::story::{Standing, Step, Story};
use super::wanted::Wanted;
use crate::render::{exact_time, harmless};

pub(super) fn as_json(wanted: &Wanted, story: &Story) -> Value {
    let step = |step: &Step| {
        json!({
            "at": exact_time(step.at),
            "source": step.source,
            "stage": step.stage.as_str(),
            "media_id": step.media_id.map(|id| id.to_string()),
            "place": step.place,
            "says": step.says,
            "facts": step.facts,
        })
    };
    let attachments = story.attachments.iter().map(|((source, id), attachment)| {
        json!({
            "source": source,
            "media_id": id.to_string(),
            "trace_id": attachment.trace_id,
            "url": attachment.url,
            "standing": attachment.standing.as_str(),
        })
    });
    json!({
        "id": wanted.shown(),
        "found": !story.is_empty(),
        "attachments": attachments.collect::<Vec<_>>(),
        "steps": story.steps.iter().map(step).collect::<Vec<_>>(),
        "left_out": story.left_out,
    })
}

pub(super) fn as_text(wanted: &Wanted, story: &Story) -> String {
    let mut lines = vec![harmless(&wanted.shown()), String::new()];
    lines.extend(story.steps.iter().map(step_line));
    if story.left_out > 0 {
        lines.push(format!("and {} more, which are not shown", story.left_out));
    }
    if !story.attachments.is_empty() {
        lines.push(String::new());
    }
    for ((_, id), attachment) in &story.attachments {
        let url = attachment.url.as_deref().map(harmless).unwrap_or_default();
        lines.push(format!("{id}  {}  {url}", standing(attachment.standing)).trim_end().to_owned());
    }
    lines.join("\n")
}

fn step_line(step: &Step) -> String {
    let id = step.media_id.map_or_else(|| "-".to_owned(), |id| id.to_string());
    let (at, stage) = (time::format(step.at), step.stage.as_str());
    format!("{at}  {stage:<11}  {id:<36}  {} [{}]", harmless(&step.says), step.place)
}

fn standing(standing: Standing) -> &'static str {
    match standing {
        Standing::Stored => "stored",
        Standing::InFlight => "under way",
        Standing::Failed => "failed: `longshore dlq show` with this id tells all",
        Standing::Unaccounted => "not accounted for: `longshore reconcile` tells whether it is lost",
    }
}
