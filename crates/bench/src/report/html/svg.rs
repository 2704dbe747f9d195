//! Drawing: lines over an axis, as inline SVG that needs no script.
//!
//! *Owns*: scales, ticks, the picture's size. *Does not own*: what is drawn. At most [`POINTS`] points a line.

use std::fmt::Write as _;

use super::style::SLOTS;
use crate::figures::number;
use crate::report::escape::html;

/// The most points of a line: more than a picture has room for, and a page of a soak stays small.
pub(super) const POINTS: usize = 300;
const WIDTH: f64 = 420.0;
const HEIGHT: f64 = 240.0;
const LEFT: f64 = 52.0;
const RIGHT: f64 = 10.0;
const TOP: f64 = 30.0;
const BOTTOM: f64 = 34.0;

/// A line.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) name: String,
    /// Which colour.
    pub(super) slot: usize,
    /// Whether it is what should be, and not what was.
    pub(super) ideal: bool,
    pub(super) points: Vec<(f64, f64)>,
}

/// What the values of x are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Across {
    /// Seconds since the measured part began.
    Time,
    /// Shares of the messages, up to five nines.
    Shares,
    /// Numbers of workers.
    Workers,
}

/// A picture.
#[derive(Debug)]
pub(super) struct Plot {
    pub(super) title: String,
    pub(super) across: Across,
    /// The unit of y.
    pub(super) unit: String,
    pub(super) lines: Vec<Line>,
    /// Times and what was done.
    pub(super) marks: Vec<(f64, String)>,
}

impl Plot {
    /// The picture with its title and its key; nothing where there is nothing to draw.
    pub(super) fn figure(&self, note: &str) -> String {
        if self.lines.iter().all(|line| line.points.is_empty()) {
            return String::new();
        }
        let keys: String = self.lines.iter().map(key).collect();
        format!(
            "<figure><b>{}</b>{}<figcaption>{keys}{}</figcaption></figure>\n",
            html(&self.title),
            self.svg(),
            if note.is_empty() { String::new() } else { format!(" {}", html(note)) }
        )
    }

    fn svg(&self) -> String {
        let frame = Frame::around(self);
        let mut svg = format!(
            "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{label}\"><title>{label}</title>",
            label = html(&self.spoken())
        );
        frame.ground(&mut svg);
        frame.rows(&mut svg, &self.unit);
        frame.columns(&mut svg, self.across);
        for (at, what) in &self.marks {
            frame.mark(&mut svg, *at, what);
        }
        for line in &self.lines {
            frame.line(&mut svg, line);
        }
        svg + "</svg>"
    }

    /// The picture in words, for who does not see it.
    fn spoken(&self) -> String {
        let top = |line: &Line| {
            let most = line.points.iter().map(|(_, y)| *y).fold(0.0, f64::max);
            format!("{} up to {} {}", line.name, number(most), self.unit)
        };
        let lines: Vec<String> = self.lines.iter().map(top).collect();
        let marks: String = self.marks.iter().map(|(at, what)| format!("; at {} s: {what}", number(*at))).collect();
        format!("{}: {}{marks}", self.title, lines.join(", "))
    }
}

fn key(line: &Line) -> String {
    format!(
        "<span class=\"key\"><svg viewBox=\"0 0 24 8\" aria-hidden=\"true\"><path class=\"{}\" d=\"M0 4H24\"/></svg>{}</span>",
        classes(line),
        html(&line.name)
    )
}

fn classes(line: &Line) -> String {
    format!("l s{}{}", line.slot.min(SLOTS - 1), if line.ideal { " ideal" } else { "" })
}

/// Where values lie in the picture.
struct Frame {
    x: (f64, f64),
    y_top: f64,
}

impl Frame {
    fn around(plot: &Plot) -> Self {
        let points = || plot.lines.iter().flat_map(|line| &line.points).filter(|(x, y)| x.is_finite() && y.is_finite());
        let low = points().map(|(x, _)| *x).fold(f64::INFINITY, f64::min);
        let high = points().map(|(x, _)| *x).fold(f64::NEG_INFINITY, f64::max);
        let most = points().map(|(_, y)| *y).fold(0.0, f64::max);
        let low = if plot.across == Across::Workers { 0.0 } else { low };
        let (low, high) = if low < high { (low, high) } else { (low.min(0.0), low.max(0.0) + 1.0) };
        let (low, high) = if low.is_finite() && high.is_finite() { (low, high) } else { (0.0, 1.0) };
        Self { x: (low, high), y_top: rounded_up(most) }
    }

    fn px(&self, x: f64) -> f64 {
        LEFT + (x - self.x.0) / (self.x.1 - self.x.0) * (WIDTH - LEFT - RIGHT)
    }

    fn py(&self, y: f64) -> f64 {
        HEIGHT - BOTTOM - (y / self.y_top).clamp(0.0, 1.0) * (HEIGHT - TOP - BOTTOM)
    }

    /// The time before the measured part is shaded.
    fn ground(&self, svg: &mut String) {
        if self.x.0 < 0.0 {
            let width = self.px(self.x.1.min(0.0)) - LEFT;
            let height = HEIGHT - TOP - BOTTOM;
            let _ = write!(svg, "<rect class=\"warm\" x=\"{LEFT}\" y=\"{TOP}\" width=\"{width:.1}\" height=\"{height}\"/>");
        }
    }

    fn rows(&self, svg: &mut String, unit: &str) {
        let _ = write!(svg, "<text x=\"2\" y=\"12\">{}</text>", html(unit));
        for step in 0..=4 {
            let value = self.y_top * f64::from(step) / 4.0;
            let (y, right) = (self.py(value), WIDTH - RIGHT);
            let class = if step == 0 { "axis" } else { "grid" };
            let _ = write!(svg, "<path class=\"{class}\" d=\"M{LEFT} {y:.1}H{right}\"/>");
            let _ = write!(svg, "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>", LEFT - 5.0, y + 4.0, tick(value));
        }
    }

    fn columns(&self, svg: &mut String, across: Across) {
        for (x, label) in self.ticks(across) {
            let at = self.px(x);
            let anchor = if at > WIDTH - RIGHT - 12.0 { "end" } else { "middle" };
            let (floor, text) = (HEIGHT - BOTTOM, HEIGHT - BOTTOM + 14.0);
            let _ = write!(svg, "<path class=\"axis\" d=\"M{at:.1} {floor}v4\"/>");
            let _ = write!(svg, "<text x=\"{at:.1}\" y=\"{text}\" text-anchor=\"{anchor}\">{label}</text>");
        }
        let name = match across {
            Across::Time => "seconds",
            Across::Shares => "share of the messages",
            Across::Workers => "workers",
        };
        let middle = f64::midpoint(LEFT, WIDTH - RIGHT);
        let _ = write!(svg, "<text x=\"{middle}\" y=\"{}\" text-anchor=\"middle\">{name}</text>", HEIGHT - 4.0);
    }

    fn ticks(&self, across: Across) -> Vec<(f64, String)> {
        let inside = |x: f64| x >= self.x.0 - 1e-9 && x <= self.x.1 + 1e-9;
        if across == Across::Shares {
            let shares =
                [(0.5, "50 %"), (0.9, "90 %"), (0.99, "99 %"), (0.999, "99.9 %"), (0.9999, "99.99 %"), (0.99999, "99.999 %")];
            let placed = shares.iter().map(|(share, label)| (along_shares(*share), (*label).to_owned()));
            return placed.filter(|(x, _)| inside(*x)).collect();
        }
        let step = rounded_up((self.x.1 - self.x.0) / 6.0).max(if across == Across::Workers { 1.0 } else { 0.0 });
        let first = (self.x.0 / step).ceil();
        let every = (0..=12).map(|at| (first + f64::from(at)) * step);
        every.filter(|x| inside(*x)).map(|x| (x, tick(x))).collect()
    }

    fn line(&self, svg: &mut String, line: &Line) {
        let mut path = String::new();
        for (x, y) in line.points.iter().filter(|(x, y)| x.is_finite() && y.is_finite()) {
            let (to, x, y) = (if path.is_empty() { 'M' } else { 'L' }, self.px(*x), self.py(*y));
            let _ = write!(path, "{to}{x:.1} {y:.1}");
        }
        let _ = write!(svg, "<path class=\"{}\" d=\"{path}\"/>", classes(line));
    }

    fn mark(&self, svg: &mut String, at: f64, what: &str) {
        let (x, floor) = (self.px(at), HEIGHT - BOTTOM);
        let (anchor, shift) = if x > WIDTH * 0.6 { ("end", -4.0) } else { ("start", 4.0) };
        let short: String = what.chars().take(28).collect();
        let _ = write!(svg, "<path class=\"mark\" d=\"M{x:.1} {TOP}V{floor}\"/>");
        let _ = write!(
            svg,
            "<text class=\"marked\" x=\"{:.1}\" y=\"{}\" text-anchor=\"{anchor}\">{}</text>",
            x + shift,
            TOP - 5.0,
            html(&short)
        );
    }
}

/// Where a share lies: each further nine is as wide as the one before.
pub(super) fn along_shares(share: f64) -> f64 {
    -(1.0 - share).max(1e-6).log10()
}

/// The next of 1, 2, 2.5, 5 times a power of ten; 1 for nothing.
fn rounded_up(value: f64) -> f64 {
    if !value.is_finite() || value <= 0.0 {
        return 1.0;
    }
    let power = 10_f64.powf(value.log10().floor());
    let next = [1.0, 2.0, 2.5, 5.0, 10.0].iter().map(|times| times * power).find(|next| *next >= value * (1.0 - 1e-9));
    next.unwrap_or(power * 10.0)
}

/// A tick's number, short: `25k` for 25,000.
fn tick(value: f64) -> String {
    match value.abs() {
        size if size >= 1e6 => format!("{}M", number(value / 1e6)),
        size if size >= 1e4 => format!("{}k", number(value / 1e3)),
        _ => number(value),
    }
}

/// At most [`POINTS`] of a line: of points beside each other the highest, so that no peak is lost.
pub(super) fn thinned(points: Vec<(f64, f64)>) -> Vec<(f64, f64)> {
    if points.len() <= POINTS {
        return points;
    }
    let each = points.len().div_ceil(POINTS);
    let highest = |few: &[(f64, f64)]| few.iter().copied().reduce(|a, b| if b.1 > a.1 { b } else { a });
    points.chunks(each).filter_map(highest).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_end_on_round_numbers() {
        for (value, top) in [(0.0, 1.0), (0.34, 0.5), (1.0, 1.0), (1.01, 2.0), (2.2, 2.5), (4_200.0, 5_000.0), (f64::NAN, 1.0)] {
            assert!((rounded_up(value) - top).abs() < 1e-12, "{value}: {}", rounded_up(value));
        }
    }

    #[test]
    fn no_peak_is_lost_by_thinning() {
        let points: Vec<(f64, f64)> = (0..3_600).map(|at| (f64::from(at), if at == 1_777 { 9.0 } else { 1.0 })).collect();
        let thin = thinned(points);
        assert!(thin.len() <= POINTS && thin.contains(&(1_777.0, 9.0)), "{}", thin.len());
    }

    #[test]
    fn a_picture_of_nothing_or_of_one_point_is_drawn_without_a_fault() {
        let plot = |points: Vec<(f64, f64)>| Plot {
            title: "t".to_owned(),
            across: Across::Time,
            unit: "s".to_owned(),
            lines: vec![Line { name: "n".to_owned(), slot: 40, ideal: false, points }],
            marks: vec![],
        };
        assert_eq!(plot(vec![]).figure(""), "");
        for points in [vec![(0.0, 0.0)], vec![(3.0, f64::NAN)], vec![(-2.0, 1.0), (-1.0, 2.0)]] {
            let figure = plot(points).figure("");
            assert!(!figure.contains("NaN") && !figure.contains("inf") && figure.contains("s8"), "{figure}");
        }
    }
}
