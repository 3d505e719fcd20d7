//! Runs a parsed template over its data.
//!
//! Invariants: output and work have limits, so that no template can hold a rule group up; an error
//! stops the template and says which part failed.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::functions::{self, Function};
use super::parse::{Command, Node, Operand, Pipeline};
use super::{Context, ExecError, Value};

/// Most bytes one template may write.
pub(super) const OUTPUT_BYTES_MAX: usize = 64 << 10;

/// Most commands one template may run, loops included.
const STEPS_MAX: usize = 100_000;

/// Why a list of nodes ended.
enum Flow {
    Next,
    Break,
    Continue,
}

/// A template being run.
pub(super) struct Run<'a> {
    context: &'a Context<'a>,
    scope: Vec<(String, Value)>,
    out: String,
    steps: usize,
}

impl<'a> Run<'a> {
    /// Runs `nodes` with `.` as `data` and the variables given (names with `$`).
    pub(super) fn run(
        nodes: &[Node],
        context: &'a Context<'a>,
        data: &Value,
        variables: Vec<(String, Value)>,
    ) -> Result<String, ExecError> {
        let mut scope = vec![("$".to_owned(), data.clone())];
        scope.extend(variables);
        let mut run = Self {
            context,
            scope,
            out: String::new(),
            steps: 0,
        };
        run.nodes(nodes, data)?;
        Ok(run.out)
    }

    fn nodes(&mut self, nodes: &[Node], dot: &Value) -> Result<Flow, ExecError> {
        for node in nodes {
            match self.node(node, dot)? {
                Flow::Next => {}
                flow => return Ok(flow),
            }
        }
        Ok(Flow::Next)
    }

    fn node(&mut self, node: &Node, dot: &Value) -> Result<Flow, ExecError> {
        match node {
            Node::Text(text) => self.out.push_str(text),
            Node::Print(pipeline) => {
                let value = self.pipeline(pipeline, dot)?;
                if pipeline.sets.is_empty() {
                    match value {
                        Value::Nil => self.out.push_str("<no value>"),
                        value => value.print(&mut self.out),
                    }
                }
            }
            Node::If {
                test,
                then,
                otherwise,
            } => {
                let outside = self.scope.len();
                let chosen = if self.pipeline(test, dot)?.is_true() {
                    then
                } else {
                    otherwise
                };
                let flow = self.nodes(chosen, dot);
                self.scope.truncate(outside);
                return flow;
            }
            Node::With {
                value,
                then,
                otherwise,
            } => {
                let outside = self.scope.len();
                let value = self.pipeline(value, dot)?;
                let flow = if value.is_true() {
                    self.nodes(then, &value)
                } else {
                    self.nodes(otherwise, dot)
                };
                self.scope.truncate(outside);
                return flow;
            }
            Node::Range {
                over,
                body,
                otherwise,
            } => {
                let outside = self.scope.len();
                let flow = self.range(over, body, otherwise, dot);
                self.scope.truncate(outside);
                return flow;
            }
            Node::Break => return Ok(Flow::Break),
            Node::Continue => return Ok(Flow::Continue),
        }
        if self.out.len() > OUTPUT_BYTES_MAX {
            return Err(ExecError::new(format!(
                "output is longer than {OUTPUT_BYTES_MAX} bytes"
            )));
        }
        Ok(Flow::Next)
    }

    fn range(
        &mut self,
        over: &Pipeline,
        body: &[Node],
        otherwise: &[Node],
        dot: &Value,
    ) -> Result<Flow, ExecError> {
        let items = match self.evaluate(over, dot)? {
            Value::List(items) => {
                let index = |at| Value::Int(i64::try_from(at).unwrap_or(i64::MAX));
                items
                    .iter()
                    .enumerate()
                    .map(|(at, item)| (index(at), item.clone()))
                    .collect()
            }
            Value::Map(items) => items
                .iter()
                .map(|(name, item)| (Value::text(name.as_str()), item.clone()))
                .collect(),
            Value::Int(count) => (0..count
                .max(0)
                .min(i64::try_from(STEPS_MAX).unwrap_or(i64::MAX)))
                .map(|at| (Value::Int(at), Value::Int(at)))
                .collect(),
            Value::Nil => Vec::new(),
            other => {
                return Err(ExecError::new(format!(
                    "range cannot go over a {}",
                    other.kind()
                )));
            }
        };
        if items.is_empty() {
            return self.nodes(otherwise, dot);
        }
        let inside = self.scope.len();
        for (key, item) in items {
            self.step()?;
            match over.sets.as_slice() {
                [value] => self.set(value, item.clone(), over.declares),
                [first, second] => {
                    self.set(first, key, over.declares);
                    self.set(second, item.clone(), over.declares);
                }
                _ => {}
            }
            let flow = self.nodes(body, &item)?;
            self.scope.truncate(inside);
            if matches!(flow, Flow::Break) {
                break;
            }
        }
        Ok(Flow::Next)
    }

    fn step(&mut self) -> Result<(), ExecError> {
        self.steps += 1;
        if self.steps > STEPS_MAX {
            return Err(ExecError::new(format!(
                "template runs more than {STEPS_MAX} steps"
            )));
        }
        Ok(())
    }

    fn set(&mut self, name: &str, value: Value, declares: bool) {
        if declares {
            self.scope.push((name.to_owned(), value));
        } else if let Some(slot) = self.scope.iter_mut().rev().find(|(known, _)| known == name) {
            slot.1 = value;
        }
    }

    /// Evaluates a pipeline and sets its variables.
    fn pipeline(&mut self, pipeline: &Pipeline, dot: &Value) -> Result<Value, ExecError> {
        let value = self.evaluate(pipeline, dot)?;
        for name in &pipeline.sets {
            self.set(name, value.clone(), pipeline.declares);
        }
        Ok(value)
    }

    fn evaluate(&mut self, pipeline: &Pipeline, dot: &Value) -> Result<Value, ExecError> {
        let mut last = None;
        for command in &pipeline.commands {
            last = Some(self.command(command, dot, last)?);
        }
        Ok(last.unwrap_or(Value::Nil))
    }

    fn command(
        &mut self,
        command: &Command,
        dot: &Value,
        piped: Option<Value>,
    ) -> Result<Value, ExecError> {
        self.step()?;
        let Some(Operand::Function(function)) = command.operands.first() else {
            return match command.operands.first() {
                Some(operand) => self.operand(operand, dot),
                None => Ok(Value::Nil),
            };
        };
        if matches!(function, Function::And | Function::Or) {
            return self.short_circuit(*function, &command.operands[1..], dot, piped);
        }
        let mut arguments = Vec::with_capacity(command.operands.len());
        for operand in &command.operands[1..] {
            arguments.push(self.operand(operand, dot)?);
        }
        arguments.extend(piped);
        functions::call(*function, &arguments, self.context)
    }

    /// `and` and `or` stop at the first argument that decides.
    fn short_circuit(
        &mut self,
        function: Function,
        operands: &[Operand],
        dot: &Value,
        piped: Option<Value>,
    ) -> Result<Value, ExecError> {
        let stops_at = function == Function::Or;
        let mut last = None;
        for operand in operands {
            let value = self.operand(operand, dot)?;
            if value.is_true() == stops_at {
                return Ok(value);
            }
            last = Some(value);
        }
        piped
            .or(last)
            .ok_or_else(|| ExecError::new("and and or need an argument"))
    }

    fn operand(&mut self, operand: &Operand, dot: &Value) -> Result<Value, ExecError> {
        match operand {
            Operand::Value(value) => Ok(value.clone()),
            Operand::Dot(fields) => walk(dot.clone(), fields),
            Operand::Variable(name, fields) => {
                let value = self.scope.iter().rev().find(|(known, _)| known == name);
                walk(value.map_or(Value::Nil, |(_, value)| value.clone()), fields)
            }
            Operand::Function(function) => functions::call(*function, &[], self.context),
            Operand::Nested(pipeline, fields) => {
                let outside = self.scope.len();
                let value = self.pipeline(pipeline, dot);
                self.scope.truncate(outside);
                walk(value?, fields)
            }
        }
    }
}

fn walk(mut value: Value, fields: &[String]) -> Result<Value, ExecError> {
    for field in fields {
        value = match &value {
            Value::Map(map) => map.get(field).cloned().unwrap_or_else(|| Value::text("")),
            Value::Record(record) => record
                .get(field.as_str())
                .cloned()
                .ok_or_else(|| ExecError::new(format!("there is no field .{field}")))?,
            other => {
                return Err(ExecError::new(format!(
                    "a {} has no field .{field}",
                    other.kind()
                )));
            }
        };
    }
    Ok(value)
}

/// The data of a rule's template: `.Labels`, `.ExternalLabels`, `.ExternalURL`, `.Value`.
pub(super) fn rule_data(fields: [(&'static str, Value); 4]) -> Value {
    Value::Record(Arc::new(fields.into_iter().collect::<BTreeMap<_, _>>()))
}
