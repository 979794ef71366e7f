/** Leaves the sentences of errors alone: a test that repeats one teaches nothing. Codes, reasons and words of rules are changed. */
import { declareValuePlugin, PluginKind } from '@stryker-mutator/api/plugin'

const isSentence = (path) => {
  const { node } = path
  const call = path.findParent(({ node }) => node.type === 'CallExpression' || node.type === 'NewExpression')
  if (call === null || !(node.type === 'StringLiteral' || node.type === 'TemplateLiteral')) return false
  const { type, callee, arguments: given } = call.node
  if (callee.type !== 'Identifier') return false
  if (type === 'NewExpression') return /^(Type|Range)?Error$/.test(callee.name) && within(path, given[0])
  return callee.name === 'configError' && within(path, given[1])
}

const within = (path, node) => path.find((above) => above.node === node) !== null

export const strykerPlugins = [declareValuePlugin(PluginKind.Ignore, 'sentences', {
  shouldIgnore: (path) => isSentence(path) ? 'a sentence of an error' : undefined
})]
