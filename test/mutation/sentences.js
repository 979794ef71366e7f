/**
 * Leaves alone what is written for people: the sentences of errors and the descriptions of schemas. A test that repeats one
 * teaches nothing. Codes, reasons, names and the words of rules are changed like everything else.
 */
import { declareValuePlugin, PluginKind } from '@stryker-mutator/api/plugin'

/** Where a sentence stands among the arguments. */
const callees = { Error: 0, TypeError: 0, RangeError: 0, configError: 1, KeyDocumentError: 1, time: 0, timeOrNull: 0, textOrNull: 0 }
const forPeople = new Set(['description', 'title'])

const isText = ({ type }) => type === 'StringLiteral' || type === 'TemplateLiteral'
const isDescription = (property) => property.type === 'ObjectProperty' && forPeople.has(property.key.name)

/** Whether it is a sentence, or a part of an expression that makes one. */
function isSentence (path) {
  if (!isText(path.node)) return false
  if (isDescription(path.parent)) return true
  const call = path.findParent(({ node }) => node.type === 'CallExpression' || node.type === 'NewExpression')
  const place = call === null ? undefined : callees[call.node.callee.name]
  return place !== undefined && path.find(({ node }) => node === call.node.arguments[place]) !== null
}

const isDescriptions = ({ node }) => node.type === 'ObjectExpression' && node.properties.length > 0 && node.properties.every(isDescription)

export const strykerPlugins = [declareValuePlugin(PluginKind.Ignore, 'sentences', {
  shouldIgnore: (path) => isSentence(path) || isDescriptions(path) ? 'written for people' : undefined
})]
