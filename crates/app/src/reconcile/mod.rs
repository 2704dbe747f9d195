//! `longshore reconcile`: the proof that nothing is lost (promise 1) and nothing is counted twice (promise 2).
//!
//! *Owns*: reading everything in the order that makes the proof hold while a pipeline runs. *Does not own*: the set
//! logic ([`longshore_core::reconcile`]), mending: nothing is changed.
//!
//! ```text
//! a pass: events table (the cut) ─▶ events ─▶ tiers ─▶ pending ─▶ tiers ─▶ results ─▶ dlq ─▶ attachments, failed
//! ```
//! What moves on while a pass runs is met again further down. The one way back, from a tier to pending, is why the
//! tiers are read twice; what slips through all the same is no fault unless a second pass misses it too.
//! Memory: see [`longshore_core::reconcile`]; with `--objects` 24 bytes more for each row; about 300 bytes for each dead
//! letter that is partly in the store.

mod objects;
mod pass;
mod report;

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use longshore_core::reconcile::{Fault, confirmed};

use crate::cli::ReconcileArgs;
use crate::inventory::parse_day;
use crate::place::Place;
use crate::{exit, render};
use objects::{Depth, Objects, SpokenFor};
use pass::Pass;

/// Between two passes: long enough for what was on its way to arrive.
const PAUSE: Duration = Duration::from_secs(1);

pub(crate) async fn run(args: ReconcileArgs) -> Result<u8> {
    let since = args.since.as_deref().map(parse_day).transpose().context("--since").context(exit::Usage)?;
    let place = Place::named(&args.place)?;
    let (mut pass, running) = prove(&place, since).await?;
    let settled = !running && pass.in_flight == 0;
    let depth = if args.deep { Some(Depth::Content) } else { args.objects.then_some(Depth::Size) };
    let objects = match depth {
        Some(depth) => Some(objects::check(&place, spoken_for(&mut pass), depth, since, settled).await?),
        None => None,
    };
    let faults = all_faults(&mut pass, objects.as_ref());
    if args.place.json {
        render::print_json(&report::as_json(&pass, objects.as_ref(), running, &faults))?;
    } else {
        render::print(report::as_text(&pass, objects.as_ref(), running, &faults))?;
    }
    Ok(if faults.is_empty() { exit::DONE } else { exit::FOUND })
}

/// Everything there is to prove about a directory, down to the bytes of its objects; returns what is wrong.
pub(crate) async fn deep(directory: &Path) -> Result<Vec<Fault>> {
    let place = Place::existing(directory)?;
    let (mut pass, running) = prove(&place, None).await?;
    let settled = !running && pass.in_flight == 0;
    let objects = objects::check(&place, spoken_for(&mut pass), Depth::Content, None, settled).await?;
    Ok(all_faults(&mut pass, Some(&objects)))
}

fn spoken_for(pass: &mut Pass) -> SpokenFor {
    SpokenFor { claims: std::mem::take(&mut pass.claims), originals: std::mem::take(&mut pass.originals) }
}

/// Looks once, and again when something may just have been on its way. Tells whether somebody works on the place.
async fn prove(place: &Place, since: Option<i32>) -> Result<(Pass, bool)> {
    let writer = || place.log.is_at_work();
    let before = writer()?;
    let first = pass::look(place, since).await?;
    let running = before || writer()?;
    if first.faults.is_empty() || !(running || first.in_flight > 0) {
        return Ok((first, running));
    }
    let suspects = first.faults;
    tokio::time::sleep(PAUSE).await;
    let mut second = pass::look(place, since).await?;
    second.faults = confirmed(&suspects, second.faults);
    Ok((second, running || writer()?))
}

fn all_faults(pass: &mut Pass, objects: Option<&Objects>) -> Vec<Fault> {
    let mut faults = std::mem::take(&mut pass.faults);
    faults.extend(objects.iter().flat_map(|objects| objects.faults.iter().cloned()));
    faults.sort();
    faults.dedup();
    faults
}
