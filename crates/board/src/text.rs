//! Text for people, in English and Chinese.

use std::fmt;

use serde::de::{Error as _, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A text in both languages of the board page. In YAML a plain string means both.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Text {
    /// English.
    pub en: String,
    /// Simplified Chinese.
    pub zh: String,
}

impl Text {
    /// The same text in both languages.
    pub fn same(text: &str) -> Self {
        Self {
            en: text.to_owned(),
            zh: text.to_owned(),
        }
    }

    /// Whether there is nothing to read.
    pub fn is_empty(&self) -> bool {
        self.en.trim().is_empty() || self.zh.trim().is_empty()
    }
}

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("en", &self.en)?;
        map.serialize_entry("zh", &self.zh)?;
        map.end()
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;

        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text, or a map with en and zh")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Text, E> {
                Ok(Text::same(text))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Text, A::Error> {
                let (mut en, mut zh) = (None, None);
                while let Some(language) = map.next_key::<String>()? {
                    let target = match language.as_str() {
                        "en" => &mut en,
                        "zh" => &mut zh,
                        _ => return Err(A::Error::unknown_field(&language, &["en", "zh"])),
                    };
                    *target = Some(map.next_value::<String>()?);
                }
                match (en, zh) {
                    (Some(en), Some(zh)) => Ok(Text { en, zh }),
                    (Some(only), None) | (None, Some(only)) => Ok(Text::same(&only)),
                    (None, None) => Err(A::Error::missing_field("en")),
                }
            }
        }

        deserializer.deserialize_any(TextVisitor)
    }
}
