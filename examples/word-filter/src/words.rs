/// A list of words, which are found whatever their case, width, accents and white space, and with invisible characters
/// in them.
pub struct Words(Vec<Vec<char>>);

/// A character of a text, folded, and its place in the text.
struct Letter {
    folded: char,
    start: usize,
    end: usize,
}

impl Words {
    pub fn new(list: &[String]) -> Words {
        let folded = |word: &String| letters(word).iter().map(|letter| letter.folded).collect::<Vec<char>>();
        Words(list.iter().map(folded).filter(|word| !word.is_empty()).collect())
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn are_in(&self, text: &str) -> bool {
        let letters = letters(text);
        (0..letters.len()).any(|at| self.length_at(&letters, at).is_some())
    }

    /// The text with an asterisk for each visible character of a word; `None` if it has none of the words.
    pub fn mask(&self, text: &str) -> Option<String> {
        let letters = letters(text);
        let mut masked = String::new();
        let (mut at, mut copied) = (0, 0);
        while at < letters.len() {
            match self.length_at(&letters, at) {
                Some(length) => {
                    masked.push_str(&text[copied..letters[at].start.max(copied)]);
                    masked.extend(std::iter::repeat('*').take(length));
                    copied = letters[at + length - 1].end;
                    at += length;
                }
                None => at += 1,
            }
        }
        match copied {
            0 => None,
            _ => Some(masked + &text[copied..]),
        }
    }

    /// The length of the word that begins at a letter, if it is a whole word: "class" has no "ass".
    fn length_at(&self, letters: &[Letter], at: usize) -> Option<usize> {
        let is_inside = |at: usize| letters.get(at).map_or(false, |letter| letter.folded.is_alphanumeric());
        if at > 0 && is_inside(at - 1) {
            return None;
        }
        let found = self.0.iter().filter(|word| {
            letters.len() - at >= word.len()
                && word.iter().zip(&letters[at..]).all(|(want, letter)| *want == letter.folded)
                && !is_inside(at + word.len())
        });
        found.map(Vec::len).max()
    }
}

fn letters(text: &str) -> Vec<Letter> {
    let mut letters: Vec<Letter> = Vec::new();
    for (start, c) in text.char_indices() {
        let end = start + c.len_utf8();
        if c.is_whitespace() {
            match letters.last_mut() {
                Some(last) if last.folded == ' ' => last.end = end,
                _ => letters.push(Letter { folded: ' ', start, end }),
            }
            continue;
        }
        // In upper case first: then "ß" is "ss", and a final sigma is a sigma.
        for folded in narrow(c).to_uppercase().flat_map(char::to_lowercase) {
            if !is_ignored(folded) {
                letters.push(Letter { folded, start, end });
            }
        }
    }
    letters
}

/// A fullwidth character of ASCII as ASCII, others as they are.
fn narrow(c: char) -> char {
    match c {
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(c as u32 - 0xfee0).unwrap_or(c),
        _ => c,
    }
}

/// Whether a character takes no room, or is an accent of its own: it could hide a word from a filter, not from a reader.
fn is_ignored(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{300}'..='\u{36f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_words_are_found() {
        let words = Words::new(&["heck", "Straße", "bad word", "λογος", "big"].map(str::to_string));
        for (text, want) in [
            ("heck", Some("****")),
            ("HECK, heck?", Some("****, ****?")),
            ("checkers heckle", None),
            ("h\u{200b}eck\u{ad}!", Some("****\u{ad}!")),
            ("die STRASSE", Some("die *******")),
            ("strasse STRAßE", Some("******* *******")),
            ("a bad word.", Some("a ********.")),
            ("a bad\u{a0} \n word", Some("a ********")),
            ("ΛΟΓΟΣ", Some("*****")),
            ("bİg B\u{301}ig", Some("*** ***")),
            ("ｈｅｃｋ h\u{e0041}e\u{fe0f}ck", Some("**** ****")),
            ("heсk with a Cyrillic letter", None), // README.md says so
            ("", None),
        ] {
            assert_eq!(words.mask(text).as_deref(), want, "{:?}", text);
            assert_eq!(words.are_in(text), want.is_some(), "{:?}", text);
        }
        assert!(Words::new(&["\u{200b}".to_string()]).is_empty());
    }
}
