//! The plots: one panel a load, a curve a peer, waiting time over rate, both logarithmic. Plain SVG, made here.

use std::fmt::Write;

use super::peer::Peer;

/// What one peer showed: rate in records a second and wait in milliseconds.
#[derive(Debug, Clone)]
pub(super) struct Curve {
    pub(super) peer: Peer,
    pub(super) points: Vec<(f64, f64)>,
}

/// One load.
#[derive(Debug, Clone)]
pub(super) struct Panel {
    pub(super) title: String,
    pub(super) curves: Vec<Curve>,
}

const WIDTH: f64 = 300.0;
const HEIGHT: f64 = 240.0;
/// Around the plot of a panel: room for numbers and titles.
const LEFT: f64 = 44.0;
const TOP: f64 = 28.0;
const RIGHT: f64 = 12.0;
const BOTTOM: f64 = 38.0;
const HEAD: f64 = 52.0;
const PER_ROW: usize = 3;

/// Colours that also the colour-blind tell apart.
fn colour(peer: Peer) -> &'static str {
    match peer {
        Peer::Lantern => "#d55e00",
        Peer::Redis => "#0072b2",
        Peer::Nats => "#009e73",
        Peer::Kafka => "#777777",
    }
}

/// A logarithmic axis from one power of ten to another.
#[derive(Debug, Clone, Copy)]
struct Axis {
    from: i32,
    to: i32,
}

impl Axis {
    /// The powers around all values; those not above 0 have no place.
    fn around(values: impl Iterator<Item = f64>) -> Self {
        let (mut from, mut to) = (i32::MAX, i32::MIN);
        for value in values.filter(|value| *value > 0.0) {
            from = from.min(value.log10().floor() as i32);
            to = to.max(value.log10().ceil() as i32);
        }
        if from > to {
            return Self { from: 0, to: 1 };
        }
        Self {
            from,
            to: to.max(from + 1),
        }
    }

    /// Where a value lies, 0 to 1.
    fn place(self, value: f64) -> f64 {
        let low = 10_f64.powi(self.from);
        let share =
            (value.max(low).log10() - f64::from(self.from)) / f64::from(self.to - self.from);
        share.clamp(0.0, 1.0)
    }
}

/// The picture.
pub(super) fn svg(title: &str, panels: &[Panel]) -> String {
    let columns = panels.len().clamp(1, PER_ROW);
    let rows = panels.len().div_ceil(PER_ROW).max(1);
    let (width, height) = (WIDTH * columns as f64, HEAD + HEIGHT * rows as f64);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" font-size=\"11\">\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"#ffffff\"/>\n\
         <text x=\"12\" y=\"20\" font-size=\"14\" fill=\"#222222\">{}</text>\n",
        escape(title)
    );
    let mut x = 12.0;
    for peer in Peer::ALL {
        if !panels
            .iter()
            .any(|panel| panel.curves.iter().any(|curve| curve.peer == peer))
        {
            continue;
        }
        let _ = writeln!(
            out,
            "<circle cx=\"{}\" cy=\"38\" r=\"4\" fill=\"{}\"/><text x=\"{}\" y=\"42\" fill=\"#222222\">{}</text>",
            x + 4.0,
            colour(peer),
            x + 12.0,
            peer.name()
        );
        x += 34.0 + 7.0 * peer.name().len() as f64;
    }
    let all = || {
        panels
            .iter()
            .flat_map(|panel| &panel.curves)
            .flat_map(|curve| &curve.points)
    };
    // One scale of waits, so that panels can be compared.
    let waits = Axis::around(all().map(|point| point.1));
    for (at, panel) in panels.iter().enumerate() {
        let left = WIDTH * (at % PER_ROW) as f64;
        let top = HEAD + HEIGHT * (at / PER_ROW) as f64;
        draw(&mut out, panel, waits, left, top);
    }
    out.push_str("</svg>\n");
    out
}

fn draw(out: &mut String, panel: &Panel, waits: Axis, left: f64, top: f64) {
    let points = panel.curves.iter().flat_map(|curve| &curve.points);
    let rates = Axis::around(points.map(|point| point.0));
    let (inner_width, inner_height) = (WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM);
    let x = |rate: f64| left + LEFT + rates.place(rate) * inner_width;
    let y = |wait: f64| top + TOP + (1.0 - waits.place(wait)) * inner_height;
    let _ = writeln!(
        out,
        "<text x=\"{:.1}\" y=\"{:.1}\" fill=\"#222222\">{}</text>",
        left + LEFT,
        top + TOP - 8.0,
        escape(&panel.title)
    );
    for power in waits.from..=waits.to {
        let value = 10_f64.powi(power);
        let _ = writeln!(
            out,
            "<path d=\"M{:.1} {:.1}h{inner_width:.1}\" stroke=\"#dddddd\"/><text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\" fill=\"#555555\">{}</text>",
            left + LEFT,
            y(value),
            left + LEFT - 4.0,
            y(value) + 4.0,
            plain(value)
        );
    }
    for power in rates.from..=rates.to {
        let value = 10_f64.powi(power);
        let _ = writeln!(
            out,
            "<path d=\"M{:.1} {:.1}v{inner_height:.1}\" stroke=\"#dddddd\"/><text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\" fill=\"#555555\">{}</text>",
            x(value),
            top + TOP,
            x(value),
            top + TOP + inner_height + 14.0,
            plain(value)
        );
    }
    let _ = writeln!(
        out,
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\" fill=\"#555555\">records/s; p99 in ms</text>",
        left + LEFT + inner_width / 2.0,
        top + TOP + inner_height + 28.0
    );
    for curve in &panel.curves {
        let places: Vec<String> = curve
            .points
            .iter()
            .map(|(rate, wait)| format!("{:.1},{:.1}", x(*rate), y(*wait)))
            .collect();
        let colour = colour(curve.peer);
        let _ = writeln!(
            out,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
            places.join(" ")
        );
        for (rate, wait) in &curve.points {
            let _ = writeln!(
                out,
                "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\" fill=\"{colour}\"/>",
                x(*rate),
                y(*wait)
            );
        }
    }
}

/// A power of ten: `0.1`, `10`, `1 k`, `100 k`, `1 M`.
fn plain(value: f64) -> String {
    match value {
        value if value >= 1e6 => format!("{} M", value / 1e6),
        value if value >= 1e3 => format!("{} k", value / 1e3),
        value => format!("{value}"),
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn panels() -> Vec<Panel> {
        let curve = |peer, points: &[(f64, f64)]| Curve {
            peer,
            points: points.to_vec(),
        };
        vec![Panel {
            title: "batches of 100, 1 partition & <more>".to_owned(),
            curves: vec![
                curve(Peer::Lantern, &[(250_000.0, 1.0), (900_000.0, 10.0)]),
                curve(Peer::Redis, &[(100_000.0, 2.5), (400_000.0, 0.0)]),
            ],
        }]
    }

    #[test]
    fn a_plot_is_what_it_was() {
        assert_eq!(svg("D2", &panels()), include_str!("plot/golden.svg"));
    }

    #[test]
    fn places_are_logarithmic_and_stay_inside() {
        let axis = Axis::around([0.0, 0.5, 30.0].into_iter());
        assert_eq!((axis.from, axis.to), (-1, 2));
        assert!((axis.place(1.0) - 1.0 / 3.0).abs() < 1e-9);
        assert_eq!((axis.place(0.0), axis.place(1e9)), (0.0, 1.0));
        let none = Axis::around(std::iter::empty());
        assert_eq!(none.place(f64::MAX), 1.0);
        let one = Axis::around(std::iter::once(100.0));
        assert_eq!((one.from, one.to), (2, 3));
    }

    #[test]
    fn an_empty_plot_is_a_picture_too() {
        assert!(svg("D1", &[]).ends_with("</svg>\n"));
    }
}
