// What the folder loads beside it sees the decorator: autoload has not encapsulated the plugin.
export default async function later (app) {
  app.get('/later', async () => app.hasDecorator('causeflowAuth'))
}
