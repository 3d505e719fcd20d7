//! From tokens to a tree: the part of Go's template language that rules use.
//!
//! Invariants: every variable and function is known when the tree is made, so that a misspelt one is
//! refused when the rule file is loaded; nesting has a limit.
//! Not here: `define`, `template` and `block`, refused by name. Source: Go's `text/template/parse`.

use super::functions::Function;
use super::lex::{Spot, Token, lex};
use super::{ParseError, Value};

/// Deepest nesting of actions and parentheses; deeper templates are refused.
const DEPTH_MAX: usize = 64;

/// Something a template does, in order.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node {
    Text(String),
    /// Prints a pipeline, unless it only sets a variable.
    Print(Pipeline),
    If {
        test: Pipeline,
        then: Vec<Node>,
        otherwise: Vec<Node>,
    },
    With {
        value: Pipeline,
        then: Vec<Node>,
        otherwise: Vec<Node>,
    },
    Range {
        over: Pipeline,
        body: Vec<Node>,
        otherwise: Vec<Node>,
    },
    Break,
    Continue,
}

/// Commands joined by `|`; what one answers is the last argument of the next.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Pipeline {
    /// Variables set: one for `$x :=`, two for `$i, $x :=` of a range.
    pub(super) sets: Vec<String>,
    /// The variables are new here, not assigned to.
    pub(super) declares: bool,
    pub(super) commands: Vec<Command>,
}

/// A function or value with arguments.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Command {
    pub(super) at: usize,
    pub(super) operands: Vec<Operand>,
}

/// One word of a command.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Operand {
    Value(Value),
    /// `.` with fields behind it.
    Dot(Vec<String>),
    Variable(String, Vec<String>),
    Function(Function),
    Nested(Box<Pipeline>, Vec<String>),
}

/// Parses a template in which `variables` (without `$`) exist from the start.
pub(super) fn parse(text: &str, variables: &[&str]) -> Result<Vec<Node>, ParseError> {
    let mut scope = vec!["$".to_owned()];
    scope.extend(variables.iter().map(|name| format!("${name}")));
    let mut parser = Parser {
        tokens: lex(text)?,
        next: 0,
        end: text.len(),
        scope,
        depth: 0,
        loops: 0,
    };
    let (nodes, stop) = parser.nodes()?;
    match stop {
        Stop::End(at) => Err(ParseError::new(at, "unexpected {{end}}")),
        Stop::Else(at) => Err(ParseError::new(at, "unexpected {{else}}")),
        Stop::Text => Ok(nodes),
    }
}

/// What ended a list of nodes.
enum Stop {
    /// The template's end.
    Text,
    /// `{{end}}`
    End(usize),
    /// `{{else`, the rest of the action still unread.
    Else(usize),
}

struct Parser {
    tokens: Vec<Spot>,
    next: usize,
    end: usize,
    scope: Vec<String>,
    depth: usize,
    loops: usize,
}

impl Parser {
    fn at(&self) -> usize {
        self.tokens.get(self.next).map_or(self.end, |spot| spot.at)
    }

    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.next).map(|spot| &spot.token)
    }

    fn error<T>(&self, reason: impl Into<String>) -> Result<T, ParseError> {
        Err(ParseError::new(self.at(), reason))
    }

    fn skip_space(&mut self) {
        while self.peek() == Some(&Token::Space) {
            self.next += 1;
        }
    }

    fn close(&mut self) -> Result<(), ParseError> {
        self.skip_space();
        if self.peek() == Some(&Token::Close) {
            self.next += 1;
            return Ok(());
        }
        self.error("'}}' expected")
    }

    fn deeper(&mut self) -> Result<(), ParseError> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return self.error(format!("template is nested deeper than {DEPTH_MAX}"));
        }
        Ok(())
    }

    fn nodes(&mut self) -> Result<(Vec<Node>, Stop), ParseError> {
        let mut nodes = Vec::new();
        loop {
            let Some(spot) = self.tokens.get(self.next).cloned() else {
                return Ok((nodes, Stop::Text));
            };
            self.next += 1;
            match spot.token {
                Token::Text(text) => nodes.push(Node::Text(text)),
                _ => match self.action(spot.at)? {
                    Action::Node(node) => nodes.push(node),
                    Action::Stop(stop) => return Ok((nodes, stop)),
                },
            }
        }
    }

    /// An action whose `{{` has been read.
    fn action(&mut self, open: usize) -> Result<Action, ParseError> {
        self.skip_space();
        let word = match self.peek() {
            Some(Token::Word(word)) => word.clone(),
            _ => String::new(),
        };
        match word.as_str() {
            "if" | "with" | "range" => {
                self.next += 1;
                self.deeper()?;
                let node = self.branch(open, &word)?;
                self.depth -= 1;
                Ok(Action::Node(node))
            }
            "else" => {
                self.next += 1;
                Ok(Action::Stop(Stop::Else(open)))
            }
            "end" => {
                self.next += 1;
                self.close()?;
                Ok(Action::Stop(Stop::End(open)))
            }
            "break" | "continue" => {
                if self.loops == 0 {
                    return self.error(format!("{{{{{word}}}}} outside {{{{range}}}}"));
                }
                self.next += 1;
                self.close()?;
                Ok(Action::Node(if word == "break" {
                    Node::Break
                } else {
                    Node::Continue
                }))
            }
            "define" | "template" | "block" => {
                self.error(format!("'{word}' is not supported in rule templates"))
            }
            _ => {
                let pipeline = self.pipeline(1)?;
                self.close()?;
                Ok(Action::Node(Node::Print(pipeline)))
            }
        }
    }

    /// The rest of `if`, `with` or `range`, whose keyword has been read.
    fn branch(&mut self, open: usize, word: &str) -> Result<Node, ParseError> {
        let outside = self.scope.len();
        let head = self.pipeline(if word == "range" { 2 } else { 1 })?;
        self.close()?;
        let looping = usize::from(word == "range");
        self.loops += looping;
        let inside = self.scope.len();
        let (body, stop) = self.nodes()?;
        self.loops -= looping;
        self.scope.truncate(inside);
        let otherwise = match stop {
            Stop::End(_) => Vec::new(),
            Stop::Text => {
                return Err(ParseError::new(
                    open,
                    format!("{{{{{word}}}}} has no {{{{end}}}}"),
                ));
            }
            Stop::Else(at) => self.otherwise(open, at, word)?,
        };
        self.scope.truncate(outside);
        Ok(match word {
            "if" => Node::If {
                test: head,
                then: body,
                otherwise,
            },
            "with" => Node::With {
                value: head,
                then: body,
                otherwise,
            },
            _ => Node::Range {
                over: head,
                body,
                otherwise,
            },
        })
    }

    /// What follows `else`: nothing and a list, or the same keyword again (`else if`).
    fn otherwise(&mut self, open: usize, at: usize, word: &str) -> Result<Vec<Node>, ParseError> {
        self.skip_space();
        if let Some(Token::Word(chained)) = self.peek() {
            if chained != word || word == "range" {
                return self.error(format!("unexpected '{chained}' after else"));
            }
            self.next += 1;
            self.deeper()?;
            let node = self.branch(at, word)?;
            self.depth -= 1;
            return Ok(vec![node]);
        }
        self.close()?;
        match self.nodes()? {
            (nodes, Stop::End(_)) => Ok(nodes),
            (_, Stop::Else(at)) => Err(ParseError::new(at, "a second {{else}}")),
            (_, Stop::Text) => Err(ParseError::new(
                open,
                format!("{{{{{word}}}}} has no {{{{end}}}}"),
            )),
        }
    }

    /// A pipeline that may set up to `sets_max` variables.
    fn pipeline(&mut self, sets_max: usize) -> Result<Pipeline, ParseError> {
        self.skip_space();
        let (sets, declares) = self.sets(sets_max)?;
        let mut commands = vec![self.command()?];
        while self.peek() == Some(&Token::Pipe) {
            self.next += 1;
            let command = self.command()?;
            if !matches!(command.operands[0], Operand::Function(_)) {
                return Err(ParseError::new(
                    command.at,
                    "only a function can stand behind '|'",
                ));
            }
            commands.push(command);
        }
        if declares {
            self.scope.extend(sets.iter().cloned());
        }
        Ok(Pipeline {
            sets,
            declares,
            commands,
        })
    }

    /// `$x :=`, `$x =` or `$i, $x :=` if they are next.
    fn sets(&mut self, sets_max: usize) -> Result<(Vec<String>, bool), ParseError> {
        let start = self.next;
        let mut sets = Vec::new();
        while let Some(Token::Variable(name)) = self.peek() {
            sets.push(name.clone());
            self.next += 1;
            self.skip_space();
            match self.peek() {
                Some(Token::Comma) if sets.len() < sets_max => {
                    self.next += 1;
                    self.skip_space();
                }
                Some(Token::Declare) => {
                    self.next += 1;
                    return Ok((sets, true));
                }
                Some(Token::Assign) => {
                    self.next += 1;
                    if let Some(unknown) = sets.iter().find(|name| !self.scope.contains(name)) {
                        return self.error(format!("undefined variable {unknown}"));
                    }
                    return Ok((sets, false));
                }
                _ => break,
            }
        }
        self.next = start;
        Ok((Vec::new(), false))
    }

    fn command(&mut self) -> Result<Command, ParseError> {
        self.skip_space();
        let at = self.at();
        let mut operands = Vec::new();
        while let Some(operand) = self.operand()? {
            operands.push(operand);
            match self.peek() {
                Some(Token::Space) => self.skip_space(),
                Some(Token::Close | Token::Pipe | Token::RightParen) => {}
                _ => return self.error("unexpected text after an operand"),
            }
        }
        match operands.first() {
            None => self.error("a value or function is missing"),
            Some(Operand::Function(_)) => Ok(Command { at, operands }),
            Some(_) if operands.len() > 1 => {
                Err(ParseError::new(at, "only a function can take arguments"))
            }
            Some(_) => Ok(Command { at, operands }),
        }
    }

    fn operand(&mut self) -> Result<Option<Operand>, ParseError> {
        let Some(token) = self.peek().cloned() else {
            return Ok(None);
        };
        let operand = match token {
            Token::Str(text) => Operand::Value(Value::text(text)),
            Token::Int(number) => Operand::Value(Value::Int(number)),
            Token::Float(number) => Operand::Value(Value::Float(number)),
            Token::Dot => Operand::Dot(Vec::new()),
            Token::Field(_) => return Ok(Some(Operand::Dot(self.fields()))),
            Token::Variable(name) => {
                if !self.scope.contains(&name) {
                    return self.error(format!("undefined variable {name}"));
                }
                self.next += 1;
                return Ok(Some(Operand::Variable(name, self.fields())));
            }
            Token::LeftParen => {
                self.next += 1;
                self.deeper()?;
                let outside = self.scope.len();
                let nested = self.pipeline(0)?;
                self.scope.truncate(outside);
                self.depth -= 1;
                self.skip_space();
                if self.peek() != Some(&Token::RightParen) {
                    return self.error("')' expected");
                }
                self.next += 1;
                return Ok(Some(Operand::Nested(Box::new(nested), self.fields())));
            }
            Token::Word(word) => match word.as_str() {
                "true" => Operand::Value(Value::Bool(true)),
                "false" => Operand::Value(Value::Bool(false)),
                "nil" => Operand::Value(Value::Nil),
                name => match Function::named(name) {
                    Some(function) => Operand::Function(function),
                    None => return self.error(format!("function '{name}' is not defined")),
                },
            },
            _ => return Ok(None),
        };
        self.next += 1;
        Ok(Some(operand))
    }

    fn fields(&mut self) -> Vec<String> {
        let mut fields = Vec::new();
        while let Some(Token::Field(name)) = self.peek() {
            fields.push(name.clone());
            self.next += 1;
        }
        fields
    }
}

enum Action {
    Node(Node),
    Stop(Stop),
}
