export const WebhookPage = () => null
