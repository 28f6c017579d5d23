import { Page } from "../parts/Page.tsx"
import { Audit } from "./Audit.tsx"
import { Keys } from "./Keys.tsx"
import { Standing } from "./Standing.tsx"

/** The service itself: whether it is well, who may ask it, and who changed what. */
export const SettingsPage = () => (
  <Page title="Settings">
    <Standing />
    <Keys />
    <Audit />
  </Page>
)
