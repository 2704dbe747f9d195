//! The load waits in the log before the workers start.

use std::time::Instant;

use super::{course, last_row, messages, opened, seconds};
use crate::failure::Failure;
use crate::ledger::Phase;
use crate::model::Repeat;
use crate::run::{Context, metrics, now_us};
use crate::suite::Spec;

pub(super) async fn run(context: &Context<'_>, spec: &Spec) -> Result<Repeat, Failure> {
    let mut session = opened(context, spec).await?;
    let since = Instant::now();
    let plan = session.plan(spec, "m", messages(spec, context.options), None)?;
    let sending = session.send(plan, Phase::Measured)?;
    let sent = session.sent(sending).await?;
    let filled_s = seconds(since);
    session.begin();
    let begin_us = now_us();
    session.start_all(spec.cast.workers).await?;
    session.rows().await?;
    session.sampler.finish();
    let end_us = last_row(&session, &sent);
    let mut course = course(&session, filled_s, sent, end_us).await?;
    course.begin_us = begin_us;
    metrics::repeat(session, spec, course).await
}
