export const Edit = () => null
