//! What Lantern counts, once as OpenMetrics text for `/metrics` and once as samples of the agent, from
//! the same registry, so that the two cannot disagree.

use std::sync::Arc;

use probe::Sink;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;

/// The registry as OpenMetrics text.
pub(crate) fn render(registry: &Registry) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = encode(&mut text, registry);
    text
}

/// Puts every value of the registry into a reading.
pub(crate) fn put(registry: &Arc<Registry>, sink: &mut dyn Sink) {
    for line in render(registry).lines() {
        if let Some((name, labels, value)) = parse(line) {
            let labels: Vec<(&str, &str)> = labels
                .iter()
                .map(|(name, value)| (*name, value.as_str()))
                .collect();
            sink.put(name, &labels, value);
        }
    }
}

/// Name, labels, value.
type Line<'a> = (&'a str, Vec<(&'a str, String)>, f64);

/// One line of our own OpenMetrics text: name, labels, value. Comments answer `None`.
fn parse(line: &str) -> Option<Line<'_>> {
    if line.starts_with('#') {
        return None;
    }
    // An exemplar follows a hash.
    let (series, value) = match line.find('{') {
        Some(_) => {
            let end = line.find("} ")?;
            (&line[..end], &line[end + 2..])
        }
        None => line.split_once(' ')?,
    };
    let value = value.split(' ').next()?.parse().ok()?;
    let (name, inside) = series.split_once('{').unwrap_or((series, ""));
    let mut labels = Vec::new();
    let mut rest = inside;
    while let Some((label, after)) = rest.split_once("=\"") {
        let mut text = String::new();
        let mut chars = after.char_indices();
        let mut end = after.len();
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    end = at + 1;
                    break;
                }
                '\\' => match chars.next() {
                    Some((_, 'n')) => text.push('\n'),
                    Some((_, other)) => text.push(other),
                    None => break,
                },
                other => text.push(other),
            }
        }
        labels.push((label, text));
        rest = after.get(end..).unwrap_or_default().trim_start_matches(',');
    }
    Some((name, labels, value))
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn our_own_text_is_read_back() {
        assert_eq!(parse("a_total 5"), Some(("a_total", vec![], 5.0)));
        assert_eq!(
            parse("b_bucket{le=\"+Inf\",x=\"a\\\"b\\n\"} 2.5"),
            Some((
                "b_bucket",
                vec![("le", "+Inf".into()), ("x", "a\"b\n".into())],
                2.5
            ))
        );
        assert_eq!(parse("# HELP a b"), None);
        assert_eq!(parse("# EOF"), None);
    }
}
