//! The resources and rules that come with the binary: the project's own `conf.d` and `rules`, used
//! where a folder of that kind does not exist.

use rust_embed::RustEmbed;

use crate::resources::File;

#[derive(RustEmbed)]
#[folder = "../../conf.d"]
struct ConfD;

#[derive(RustEmbed)]
#[folder = "../../rules"]
struct Rules;

/// Boards, meters and the like.
pub(crate) fn resources() -> Vec<File> {
    files::<ConfD>("built-in conf.d")
}

/// Prometheus rule files.
pub(crate) fn rules() -> Vec<File> {
    files::<Rules>("built-in rules")
}

fn files<E: RustEmbed>(folder: &str) -> Vec<File> {
    let mut files: Vec<File> = E::iter()
        .filter_map(|name| {
            let data = E::get(&name)?.data;
            let text = String::from_utf8(data.into_owned()).ok()?;
            Some(File {
                path: format!("{folder}/{name}").into(),
                text,
            })
        })
        .collect();
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files
}
