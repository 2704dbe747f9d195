//! Metrics whose values are read where they are kept, at the moment of the scrape: nothing is counted twice.

use prometheus::core::{Collector, Desc};
use prometheus::proto::{Counter, Gauge, LabelPair, Metric as Sample, MetricFamily, MetricType};
use prometheus::{Registry, Result};

use super::names::{Kind, Metric};

/// The values of one metric, each with the values of its labels.
pub(super) type Values = Vec<(Vec<String>, f64)>;

/// Reads the values of a metric.
type Read = Box<dyn Fn(&Metric) -> Values + Send + Sync>;

/// Metrics that are read from one place.
struct Observed {
    metrics: &'static [Metric],
    descs: Vec<Desc>,
    read: Read,
}

/// Exports metrics, counters and gauges, by asking for the values of each at every scrape.
pub(super) fn register(registry: &Registry, metrics: &'static [Metric], read: Read) -> Result<()> {
    let labels = |metric: &Metric| metric.labels.iter().map(|label| (*label).to_owned()).collect();
    let desc = |metric: &Metric| Desc::new(metric.name.to_owned(), metric.help(), labels(metric), Default::default());
    let descs = metrics.iter().map(desc).collect::<Result<_>>()?;
    registry.register(Box::new(Observed { metrics, descs, read }))
}

impl Collector for Observed {
    fn desc(&self) -> Vec<&Desc> {
        self.descs.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.metrics.iter().map(|metric| family(metric, (self.read)(metric))).collect()
    }
}

fn family(metric: &Metric, values: Values) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(metric.name.to_owned());
    family.set_help(metric.help());
    family.set_field_type(if metric.kind == Kind::Counter { MetricType::COUNTER } else { MetricType::GAUGE });
    family.set_metric(values.into_iter().map(|(labels, value)| sample(metric, labels, value)).collect());
    family
}

fn sample(metric: &Metric, labels: Vec<String>, value: f64) -> Sample {
    let pair = |(name, value): (&&str, String)| {
        let mut pair = LabelPair::default();
        pair.set_name((*name).to_owned());
        pair.set_value(value);
        pair
    };
    let mut pairs: Vec<LabelPair> = metric.labels.iter().zip(labels).map(pair).collect();
    // In the order in which the library has those of its own metrics.
    pairs.sort_unstable_by(|one, other| one.name().cmp(other.name()));
    let mut sample = Sample::from_label(pairs);
    if metric.kind == Kind::Counter {
        let mut counter = Counter::default();
        counter.set_value(value);
        sample.set_counter(counter);
    } else {
        let mut gauge = Gauge::default();
        gauge.set_value(value);
        sample.set_gauge(gauge);
    }
    sample
}
