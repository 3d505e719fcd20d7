//! `lantern group lag --watch`: looks again and again, with rates.
//!
//! A rate is what changed in the partitions that both the first and the last look of the last ten
//! seconds know, by the time between them.

use std::collections::{BTreeMap, VecDeque};
use std::io::Write;
use std::time::Duration;

use kafka_client::Cluster;
use model::{GroupId, Offset, TopicPartition};
use serde::Serialize;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::lag::{self, GroupLag, JsonGroup, LagFlags, PartitionLag};
use crate::error::Error;
use crate::output::{Output, json_line};
use crate::stage::Stage;
use crate::table::Table;
use crate::units::{self, counted, grouped, span};

/// How long looks are remembered for rates.
const WINDOW: Duration = Duration::from_secs(10);

/// Rows of the terminal that are left for what is typed next.
const ROWS_LEFT: usize = 1;

/// When a group will have read everything, if both rates stay.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum CatchUp {
    /// There is no rate yet.
    Unknown,
    /// It has.
    Done,
    /// After this time.
    In(Duration),
    /// Not at these rates.
    Never,
}

impl CatchUp {
    fn of(lag: u64, rates: Option<Rates>) -> Self {
        let Some(rates) = rates else {
            return if lag == 0 { Self::Done } else { Self::Unknown };
        };
        let gained = rates.consumed - rates.produced;
        if lag == 0 {
            Self::Done
        } else if gained <= 0.0 {
            Self::Never
        } else {
            let seconds = (lag as f64 / gained).min(u32::MAX.into());
            Self::In(Duration::from_secs_f64(seconds))
        }
    }

    fn words(self) -> String {
        match self {
            Self::Unknown => "measuring".to_owned(),
            Self::Done => "caught up".to_owned(),
            Self::In(time) => format!("caught up in {}", span(time)),
            Self::Never => "not catching up".to_owned(),
        }
    }

    fn seconds(self) -> Option<f64> {
        match self {
            Self::Done => Some(0.0),
            Self::In(time) => Some(time.as_secs_f64()),
            Self::Unknown | Self::Never => None,
        }
    }
}

/// Records a second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Rates {
    consumed: f64,
    produced: f64,
}

type Seen = BTreeMap<TopicPartition, PartitionLag>;

/// The last looks at one group.
#[derive(Debug, Default)]
pub(super) struct History {
    looks: VecDeque<(Instant, Seen)>,
}

impl History {
    fn push(&mut self, now: Instant, seen: Seen) {
        self.looks.push_back((now, seen));
        // One look that is older than the window stays, so that there is always one to compare with.
        while self.looks.get(1).is_some_and(|(at, _)| *at + WINDOW <= now) {
            self.looks.pop_front();
        }
    }

    /// In all partitions, or in one.
    fn rates(&self, only: Option<&TopicPartition>) -> Option<Rates> {
        let (first_at, first) = self.looks.front()?;
        let (last_at, last) = self.looks.back()?;
        let seconds = last_at.duration_since(*first_at).as_secs_f64();
        if seconds <= 0.0 {
            return None;
        }
        let (mut consumed, mut produced) = (0.0, 0.0);
        let moved = |from: Option<Offset>, to: Option<Offset>| match (from, to) {
            // A reset group goes back, which is no reading.
            (Some(from), Some(to)) => to.since(from) as f64,
            _ => 0.0,
        };
        let wanted = last
            .iter()
            .filter(|(at, _)| only.is_none_or(|one| one == *at));
        for (at, now) in wanted {
            if let Some(before) = first.get(at) {
                consumed += moved(before.committed, now.committed);
                produced += moved(before.end, now.end);
            }
        }
        Some(Rates {
            consumed: consumed / seconds,
            produced: produced / seconds,
        })
    }
}

pub(super) async fn run(
    flags: &LagFlags,
    cluster: &Cluster,
    stage: &mut Stage,
) -> Result<(), Error> {
    let mut histories: BTreeMap<GroupId, History> = BTreeMap::new();
    let mut ticks = interval(flags.interval.get());
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let stop = stage.stop.clone();
    let mut drawn = 0;
    let mut looks = 0;
    let mut in_trouble = false;
    let in_place = stage.out_is_terminal && flags.common.output == Output::Text;
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            _ = ticks.tick() => (),
        }
        let looked = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            looked = lag::look(cluster, flags) => looked,
        };
        let groups = match looked {
            Ok(groups) => groups,
            // A server that restarts is waited for; the first look tells what is simply wrong.
            Err(error) if looks > 0 => {
                if !in_trouble {
                    stage.note(format!("lantern: {error}; trying again"));
                    drawn = 0;
                }
                in_trouble = true;
                continue;
            }
            Err(error) => return Err(error),
        };
        in_trouble = false;
        let now = Instant::now();
        for group in &groups {
            let history = histories.entry(group.group.clone()).or_default();
            history.push(now, group.partitions.clone());
        }
        if in_place {
            let size = stage.size();
            let lines = screen(&groups, &histories, flags, stage, size);
            if drawn > 0 {
                // Up to the first line drawn, and clear from there.
                write!(stage.out, "\x1b[{drawn}F\x1b[J")?;
            }
            for line in &lines {
                writeln!(stage.out, "{line}")?;
            }
            drawn = lines.len();
        } else {
            for group in &groups {
                line(group, &histories, flags.common.output, stage)?;
            }
        }
        stage.out.flush()?;
        looks += 1;
        if flags.count.is_some_and(|count| looks >= count) {
            return Ok(());
        }
    }
}

/// What stands on the screen: as many lines, as wide as it has room for.
fn screen(
    groups: &[GroupLag],
    histories: &BTreeMap<GroupId, History>,
    flags: &LagFlags,
    stage: &Stage,
    size: Option<(usize, usize)>,
) -> Vec<String> {
    let none = History::default();
    let now = units::time(stage.clock.now());
    let mut lines = Vec::new();
    if flags.groups.is_empty() {
        lines.push(now.clone());
        let headings = ["GROUP", "STATE", ">LAG", ">CONSUMED/S", ">PRODUCED/S", ""];
        let mut table = Table::new(&headings);
        for group in groups {
            let history = histories.get(&group.group).unwrap_or(&none);
            let rates = history.rates(None);
            table.row([
                group.group.to_string(),
                group.state.clone(),
                grouped(group.total()),
                shown(rates.map(|rates| rates.consumed)),
                shown(rates.map(|rates| rates.produced)),
                CatchUp::of(group.total(), rates).words(),
            ]);
        }
        lines.extend(table.lines(false));
    } else {
        for group in groups {
            let history = histories.get(&group.group).unwrap_or(&none);
            lines.extend(block(group, history, &now));
        }
    }
    if let Some((columns, rows)) = size {
        fit(&mut lines, columns, rows.saturating_sub(ROWS_LEFT));
    }
    lines
}

fn fit(lines: &mut Vec<String>, columns: usize, rows: usize) {
    for line in lines.iter_mut() {
        if let Some((cut, _)) = line.char_indices().nth(columns) {
            line.truncate(cut);
        }
    }
    if lines.len() > rows && rows > 1 {
        let left = lines.len() + 1 - rows;
        lines.truncate(rows - 1);
        lines.push(format!("… {left} more lines"));
    }
}

fn block(group: &GroupLag, history: &History, now: &str) -> Vec<String> {
    let rates = history.rates(None);
    let total = group.total();
    let consumed = shown(rates.map(|rates| rates.consumed));
    let produced = shown(rates.map(|rates| rates.produced));
    let mut lines = vec![
        format!("{}  {now}", lag::heading(group, false)),
        format!(
            "Total lag: {}; consumed {consumed}/s, produced {produced}/s; {}.",
            counted(total, "record"),
            CatchUp::of(total, rates).words()
        ),
    ];
    let headings = [
        "TOPIC",
        ">PARTITION",
        ">COMMITTED",
        ">END",
        ">LAG",
        ">CONSUMED/S",
        ">PRODUCED/S",
        "CLIENT",
    ];
    let mut table = Table::new(&headings);
    for (at, lag) in &group.partitions {
        let rates = history.rates(Some(at));
        let mut cells = lag::cells(at, lag);
        cells.push(shown(rates.map(|rates| rates.consumed)));
        cells.push(shown(rates.map(|rates| rates.produced)));
        cells.push(lag.client.clone().unwrap_or_default());
        table.row(cells);
    }
    lines.extend(table.lines(false));
    lines
}

fn shown(rate: Option<f64>) -> String {
    rate.map_or_else(|| "-".to_owned(), units::rate)
}

/// One look at one group as JSON.
#[derive(Debug, Serialize)]
struct JsonLook<'a> {
    time: &'a str,
    #[serde(flatten)]
    group: JsonGroup<'a>,
    consumed_per_second: Option<f64>,
    produced_per_second: Option<f64>,
    /// None when it does not catch up, or when that is not known yet.
    catch_up_seconds: Option<f64>,
}

fn line(
    group: &GroupLag,
    histories: &BTreeMap<GroupId, History>,
    output: Output,
    stage: &mut Stage,
) -> Result<(), Error> {
    let rates = histories
        .get(&group.group)
        .and_then(|history| history.rates(None));
    let catch_up = CatchUp::of(group.total(), rates);
    let time = units::time(stage.clock.now());
    if output == Output::Json {
        let look = JsonLook {
            time: &time,
            group: JsonGroup::of(group),
            consumed_per_second: rates.map(|rates| rates.consumed),
            produced_per_second: rates.map(|rates| rates.produced),
            catch_up_seconds: catch_up.seconds(),
        };
        json_line(&mut stage.out, &look)?;
    } else {
        writeln!(
            stage.out,
            "{time}  {}  lag {}  consumed {}/s  produced {}/s  {}",
            group.group,
            group.total(),
            shown(rates.map(|rates| rates.consumed)),
            shown(rates.map(|rates| rates.produced)),
            catch_up.words()
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::lag::tests::group;
    use super::*;

    /// Looks two seconds apart.
    fn history(looks: &[&str]) -> (GroupLag, History) {
        let mut history = History::default();
        let mut at = Instant::now();
        let mut last = group("");
        for look in looks {
            last = group(look);
            history.push(at, last.partitions.clone());
            at += Duration::from_secs(2);
        }
        (last, history)
    }

    #[test]
    fn rates_and_the_time_to_catch_up() {
        let looks = [
            "orders/0 0:1000 app\norders/1 5:5",
            "orders/0 400:1200 app\norders/1 5:5",
        ];
        let (last, history) = history(&looks);
        insta::assert_snapshot!(block(&last, &history, "now").join("\n"), @r"
        billing  Stable, 1 member  now
        Total lag: 800 records; consumed 200/s, produced 100/s; caught up in 8.0s.
        TOPIC   PARTITION  COMMITTED    END  LAG  CONSUMED/S  PRODUCED/S  CLIENT
        orders          0        400  1,200  800         200         100  app
        orders          1          5      5    0           0           0
        ");
    }

    #[test]
    fn a_group_that_is_slower_than_its_producers_never_catches_up() {
        let words = |looks: &[&str]| {
            let (last, history) = history(looks);
            CatchUp::of(last.total(), history.rates(None)).words()
        };
        assert_eq!(words(&["a/0 0:10"]), "measuring");
        assert_eq!(words(&["a/0 0:10", "a/0 5:20"]), "not catching up");
        assert_eq!(words(&["a/0 0:10", "a/0 10:10"]), "caught up");
        assert_eq!(
            words(&["a/0 50:100", "a/0 0:100"]),
            "not catching up",
            "reset"
        );
        // Partitions that come and go make no rate.
        assert_eq!(
            words(&["a/0 0:10", "a/0 1:10\nb/0 5000:5009"]),
            "caught up in 36s"
        );
    }

    #[test]
    fn only_the_last_seconds_make_a_rate() {
        let mut looks = vec!["a/0 0:9000"];
        looks.extend(["a/0 5000:9000"; 20]);
        let (_, history) = history(&looks);
        let rates = history.rates(None).unwrap();
        assert_eq!(rates.consumed, 0.0);
        assert!(history.looks.len() <= 7);
    }

    #[test]
    fn a_screen_is_never_larger_than_the_terminal() {
        let mut lines: Vec<String> = (0..9).map(|n| format!("line {n}")).collect();
        fit(&mut lines, 4, 5);
        assert_eq!(lines, ["line", "line", "line", "line", "… 5 more lines"]);
    }
}
