//! What somebody may have meant who wrote a name that is not there.

/// The names that differ least from `wrong`, if they differ little: at most three.
pub(crate) fn like<'a>(wrong: &str, names: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let wrong = wrong.to_lowercase();
    let near = (wrong.chars().count() / 3).clamp(1, 3);
    let mut found: Vec<(usize, &str)> = names
        .into_iter()
        .filter_map(|name| {
            let lower = name.to_lowercase();
            let inside = wrong.len() >= 3 && lower.contains(&wrong);
            let differs = if inside { 1 } else { distance(&wrong, &lower) };
            (differs <= near).then_some((differs, name))
        })
        .collect();
    found.sort_unstable();
    found.truncate(3);
    found.into_iter().map(|(_, name)| name).collect()
}

/// `: did you mean 'a' or 'b'?`, or nothing.
pub(crate) fn did_you_mean(names: &[&str]) -> Option<String> {
    if names.is_empty() {
        return None;
    }
    let quoted: Vec<String> = names.iter().map(|name| format!("'{name}'")).collect();
    Some(format!(": did you mean {}?", quoted.join(" or ")))
}

/// Letters to change, add, leave out or swap to make one of the other (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, &from) in a.iter().enumerate() {
        let mut line = vec![i + 1];
        for (j, &to) in b.iter().enumerate() {
            let change = last[j] + usize::from(from != to);
            let mut best = change.min(last[j + 1] + 1).min(line[j] + 1);
            if i > 0 && j > 0 && from == b[j - 1] && a[i - 1] == to {
                best = best.min(before[j - 1] + 1);
            }
            line.push(best);
        }
        before = std::mem::replace(&mut last, line);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_found_and_far_ones_are_not() {
        let names = ["orders", "orders.dlq", "payments", "retention.ms"];
        assert_eq!(like("ordres", names), ["orders"]);
        assert_eq!(like("Order", names), ["orders", "orders.dlq"]);
        assert_eq!(like("retention", names), ["retention.ms"]);
        assert_eq!(like("x", names), [""; 0]);
        assert_eq!(did_you_mean(&[]), None);
        assert_eq!(
            did_you_mean(&["a", "b"]).as_deref(),
            Some(": did you mean 'a' or 'b'?")
        );
    }
}
